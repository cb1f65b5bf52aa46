"""The library as a package: what it declares, what the lock pins, what its wheel holds, where its root is."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import zipfile
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from workshop.settings import PROJECT_ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ENVIRONMENTS = [
    {"python_version": version, "python_full_version": f"{version}.9", "sys_platform": "linux"}
    for version in ("3.10", "3.11", "3.12")
]
every_python = pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda e: e["python_version"])


def requirement_lines(name: str) -> list[str]:
    lines = [line.partition("  #")[0].strip() for line in (PROJECT_ROOT / name).read_text().splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def pins(name: str, environment: dict[str, str]) -> dict[str, str]:
    """Package to exact version in a requirements file, for one Python."""
    found = {}
    for line in requirement_lines(name):
        if line.startswith("-e "):
            continue
        requirement = Requirement(line)
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", line
        if requirement.marker is None or requirement.marker.evaluate(environment):
            package = canonicalize_name(requirement.name)
            assert package not in found, f"{package} is pinned twice"
            found[package] = specifier.version
    return found


def declared(environment: dict[str, str]) -> dict[str, list[Requirement]]:
    """Package to all that the two projects of this checkout ask of it, for one Python."""
    asked: dict[str, list[Requirement]] = {}
    ours = set()
    for path in ("pyproject.toml", "packages/aqlite/pyproject.toml"):
        project = tomllib.loads((PROJECT_ROOT / path).read_text())["project"]
        ours.add(canonicalize_name(project["name"]))
        for text in chain(project["dependencies"], *project["optional-dependencies"].values()):
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate(environment):
                asked.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return {name: requirements for name, requirements in asked.items() if name not in ours}


@every_python
def test_what_is_declared_is_pinned_within_its_range_and_nothing_else_is(environment):
    exact = pins("requirements.txt", environment) | pins("requirements-no-deps.txt", environment)
    asked = declared(environment)
    assert exact.keys() == asked.keys()
    for name, requirements in asked.items():
        for requirement in requirements:
            assert requirement.specifier.contains(exact[name]), f"{requirement} against {exact[name]}"


@every_python
def test_the_lock_follows_the_requirements(environment):
    direct = pins("requirements.txt", environment)
    locked = pins("constraints.txt", environment)
    assert {name: locked.get(name) for name in direct} == direct, "try: make lock"
    assert len(locked) > 2 * len(direct), "what the packages need in turn is missing"


@every_python
def test_the_lock_leaves_the_build_of_torch_to_the_machine(environment):
    locked = pins("constraints.txt", environment)
    assert "+" not in locked["torch"]
    gpu = [name for name in locked if name.startswith(("nvidia-", "cuda-")) or name == "triton"]
    assert gpu == ["nvidia-pytriton"]


def test_the_lock_names_no_index():
    text = (PROJECT_ROOT / "constraints.txt").read_text()
    assert "://" not in text
    assert "--" not in text.replace("# ", "")


def test_the_lock_covers_all_that_is_installed_here():
    """Every package that our requirements bring in, followed through the metadata of what is installed."""
    locked = pins(
        "constraints.txt",
        {
            **ENVIRONMENTS[0],
            "python_version": "{}.{}".format(*sys.version_info),
            "python_full_version": sys.version.split()[0],
        },
    )
    reached: set[str] = set()
    waiting = [Requirement(line) for line in requirement_lines("requirements.txt") if not line.startswith("-e ")]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if f"{name}[{extra}]" in reached or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
                continue
            reached.add(f"{name}[{extra}]")
            for text in importlib.metadata.requires(name) or []:
                needed = Requirement(text)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    needed.marker = None
                    waiting.append(needed)
    names = {name.partition("[")[0] for name in reached}
    builds = {name for name in names if name.startswith(("nvidia-", "cuda-")) or name == "triton"}
    assert names - builds <= locked.keys()


# --- the wheel ------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    result = subprocess.run(build, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder that holds what the wheel installs, as site-packages would."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_wheel_holds_every_file_of_the_library_and_no_other(wheel):
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "workshop"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == {name for name in tracked if (PROJECT_ROOT / name).is_file()}
    assert {Path(name).suffix for name in held} >= {".py", ".aql", ".json"}


def python_from(installed: Path, code: str, cwd: Path, **environment: str) -> str:
    """What ``code`` prints when the library comes from the wheel and not from the checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WORKSHOP_")}
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(installed)!r})\n{code}"],
        cwd=cwd,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


ROOT_OF_WHEEL = (
    "import workshop.settings as s; print(s.__file__, s.PROJECT_ROOT, s.load_settings().data_dir, sep='\\n')"
)


def test_a_library_from_a_wheel_works_in_the_current_folder(installed, tmp_path):
    file, root, data = python_from(installed, ROOT_OF_WHEEL, tmp_path).splitlines()
    assert Path(file).is_relative_to(installed)
    assert (root, data) == (str(tmp_path), str(tmp_path / ".data"))


def test_the_root_can_be_named(installed, tmp_path):
    (tmp_path / "room").mkdir()
    printed = python_from(installed, ROOT_OF_WHEEL, tmp_path, WORKSHOP_PROJECT_ROOT="room")
    assert printed.splitlines()[1] == str(tmp_path / "room")


def test_a_checkout_is_its_own_root_wherever_python_runs(tmp_path):
    code = "import workshop.settings as s; print(s.PROJECT_ROOT)"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WORKSHOP_")}
    printed = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=kept, capture_output=True, text=True)
    assert printed.stdout.strip() == str(Path(__file__).resolve().parents[2]), printed.stderr


def test_a_library_from_a_wheel_finds_its_queries(installed, tmp_path):
    code = "from workshop.store.queries import query_text; print(query_text('movie_find'))"
    assert (
        python_from(installed, code, tmp_path)
        == (PROJECT_ROOT / "workshop/store/aql/movie_find.aql").read_text().strip()
    )
