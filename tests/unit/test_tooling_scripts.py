"""Make, the scripts around it, and the documents that mention them."""

from __future__ import annotations

import ast
import inspect
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from scripts import check_environment, install, strip_notebooks, update_docs
from workshop import errors
from workshop.settings import PROJECT_ROOT, Settings
from workshop.stack.machine import MINIMUM_GLIBC
from workshop.stack.private import free_ports


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project's root, with PATH and the given variables only."""
    return subprocess.run(
        command,
        cwd=PROJECT_ROOT,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


# --- make -----------------------------------------------------------------------------------------------------
def targets() -> set[str]:
    return set(re.search(r"^\.PHONY: (.*)$", (PROJECT_ROOT / "Makefile").read_text(), re.MULTILINE).group(1).split())


def test_make_alone_lists_every_command():
    listed = set(re.findall(r"^  make (\S+)", run("make").stdout, re.MULTILINE))
    assert listed == targets()


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "TROUBLESHOOTING.md", ".ci/run"])
def test_documents_mention_commands_that_exist(document):
    mentioned = set(re.findall(r"(?:`|^)make ([a-z-]+)", (PROJECT_ROOT / document).read_text(), re.MULTILINE))
    assert mentioned
    assert mentioned <= targets()


def test_run_hands_its_variables_to_the_runner():
    variables = ("NOTEBOOKS=01 05", "DATA_SIZE=tiny", "PARAMETERS=SEED=7 NAME=x")
    commands = " ".join(run("make", "--dry-run", "run", *variables).stdout.replace("\\\n", " ").split())
    expected = "scripts/run_notebooks.py 01 05 --data-size tiny --parameter 'SEED=7' --parameter 'NAME=x'"
    assert expected in commands


def test_ci_and_readme_run_the_same_two_commands():
    readme = (PROJECT_ROOT / "README.md").read_text()
    opening = readme[: readme.index("## The notebooks")]
    assert re.search(r"```bash\nmake run .*\nmake test .*\n```", opening)
    assert re.findall(r"^make .*$", (PROJECT_ROOT / ".ci/run").read_text(), re.MULTILINE) == ["make test"]
    assert (PROJECT_ROOT / ".ci/run").stat().st_mode & 0o111


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_lab_lets_its_server_shut_down_in_order(sent):
    server = ["sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done"]
    lab = [
        sys.executable,
        "-c",
        f"import os, sys\nfrom scripts.lab import serve\nsys.exit(serve({server}, os.environ))",
    ]
    with subprocess.Popen(lab, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "up\n"
        process.send_signal(sent)
        assert process.wait(timeout=30) == 7


# --- the Python that make picks -------------------------------------------------------------------------------
def test_a_named_python_is_used_or_refused_never_replaced(tmp_path):
    ours = run("sh", "scripts/find_python.sh", PYTHON=sys.executable)
    assert ours.stdout.strip() == sys.executable
    old = script(tmp_path / "python3.8", 'test "$1" = --version && echo Python 3.8.20')
    for name, found in ((str(old), "which is Python 3.8.20"), ("/nowhere/python3", "no command /nowhere/python3")):
        refused = run("sh", "scripts/find_python.sh", PYTHON=name)
        assert refused.returncode == 1
        assert refused.stdout == ""
        assert found in refused.stderr
        assert "the workshop needs Python 3.10, 3.11 or 3.12" in refused.stderr


def test_an_unsupported_default_python_is_passed_over(tmp_path):
    script(tmp_path / "python3", 'test "$1" = --version && echo Python 3.14.0')
    script(tmp_path / "python3.12", "exit 0")
    found = run("/bin/sh", "scripts/find_python.sh", PATH=f"{tmp_path}:/usr/bin:/bin")
    assert found.stdout == "python3.12\n"


# --- the environment check ------------------------------------------------------------------------------------
def test_the_check_works_before_anything_is_installed():
    result = run(sys.executable, "-I", "-S", "scripts/check_environment.py")
    lines = [line for line in result.stdout.splitlines() if line.startswith("[")]
    assert len(lines) == len(check_environment.CHECKS)
    assert re.search(r"^\[FAIL\] packages .* missing .*\n +Try: make setup$", result.stdout, re.MULTILINE)
    assert result.returncode == sum(line.startswith("[FAIL]") for line in lines) > 0
    assert "Traceback" not in result.stderr


def test_both_checks_of_the_machine_want_the_same_c_library():
    assert check_environment.GLIBC == MINIMUM_GLIBC


@pytest.mark.parametrize(
    ("system", "machine", "library", "named", "remedies"),
    [
        ("Darwin", "arm64", ("", ""), "macOS on arm64", ["docker-compose.yml -f docker-compose.cpu.yml up"]),
        ("Windows", "AMD64", ("", ""), "Windows on AMD64", ["wsl --install", "make run", "docker compose"]),
        ("Linux", "aarch64", ("glibc", "2.36"), "Linux on aarch64 with glibc 2.36", ["docker compose"]),
        ("Linux", "x86_64", ("glibc", "2.34"), "Linux on x86_64 with glibc 2.34", ["docker compose"]),
        ("Linux", "x86_64", ("", ""), "Linux on x86_64", ["docker compose"]),
    ],
)
def test_the_check_says_what_to_do_where_the_stack_cannot_run(system, machine, library, named, remedies, tmp_path):
    docker = script(tmp_path / "docker", "echo 2.29.1")
    fake = (
        "import platform, runpy, shutil\n"
        f"platform.system, platform.machine = lambda: {system!r}, lambda: {machine!r}\n"
        f"platform.libc_ver = lambda: {library!r}\n"
        f"shutil.which = lambda name: {str(docker)!r}\n"
        "runpy.run_path('scripts/check_environment.py', run_name='__main__')"
    )
    result = run(sys.executable, "-I", "-S", "-c", fake)
    assert result.returncode == 1, result.stdout + result.stderr
    failed, *passed = re.findall(r"^\[(?:OK|FAIL)\].*(?:\n .*)*", result.stdout, re.MULTILINE)
    assert failed.startswith("[FAIL] platform")
    assert named in failed
    assert [remedy for remedy in remedies if remedy not in failed] == []
    assert [line.split()[1] for line in passed] == ["docker", "disk"]
    assert "Docker Compose 2.29.1" in passed[0]


@pytest.mark.parametrize(
    ("answer", "message"),
    [("echo 2.20.3", "Docker Compose 2.20.3, the workshop needs 2.24"), ("exit 1", "no Compose plugin")],
)
def test_the_check_names_a_docker_that_is_too_old(monkeypatch, tmp_path, answer, message):
    docker = script(tmp_path / "docker", answer)
    monkeypatch.setattr(check_environment.shutil, "which", lambda name: str(docker))
    with pytest.raises(check_environment.CheckError, match=message):
        check_environment.check_docker()


def test_make_check_needs_no_environment(tmp_path):
    result = run("make", "check", f"VENV={tmp_path}/none", f"PYTHON={sys.executable}")
    assert re.search(r"^\[OK\] +platform ", result.stdout, re.MULTILINE), result.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", ["check_environment.py", "install.py"])
def test_what_runs_before_the_set_up_imports_the_standard_library_only(name):
    tree = ast.parse((PROJECT_ROOT / "scripts" / name).read_text(), feature_version=(3, 8))
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert {module.partition(".")[0] for module in modules} <= sys.stdlib_module_names


def test_the_check_names_a_taken_port_and_the_setting_that_moves_it(monkeypatch, tmp_path):
    fields = ("TRITON_HTTP_PORT", "TRITON_METRICS_PORT", "ARANGO_PORT")
    for field, free in zip(fields, free_ports(3), strict=True):
        monkeypatch.setenv(f"WORKSHOP_{field}", str(free))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv("WORKSHOP_TRITON_GRPC_PORT", str(port))
        monkeypatch.setenv("WORKSHOP_STACK_DIR", str(tmp_path))
        message = rf"port {port} is taken by another program\nTry: stop it, or set WORKSHOP_TRITON_GRPC_PORT"
        with pytest.raises(check_environment.CheckError, match=message):
            check_environment.check_ports()


def test_the_check_names_packages_that_differ(monkeypatch):
    real = check_environment.metadata.version
    monkeypatch.setattr(check_environment.metadata, "version", lambda name: "2.0.0" if name == "numpy" else real(name))
    with pytest.raises(check_environment.CheckError, match=r"1 of \d+ differ: numpy 2\.0\.0 \(wanted 1\.26\.4\)"):
        check_environment.check_packages()


# --- installing -----------------------------------------------------------------------------------------------
def test_pip_is_summed_up():
    progress = install.Progress()
    for line in (
        "Obtaining file:///here\n",
        "Requirement already satisfied: lark==1.3.1 in /x (1.3.1)\n",
        "Collecting numpy==1.26.4 (from -r requirements.txt (line 6))\n",
        "  Downloading numpy-1.26.4-cp311-cp311-manylinux_2_17_x86_64.whl.metadata (61 kB)\n",
        "  Downloading numpy-1.26.4-cp311-cp311-manylinux_2_17_x86_64.whl (18.3 MB)\n",
        "  Downloading outdated-0.2.2.tar.gz (500 kB)\n",
        "  Using cached rich-15.0.0-py3-none-any.whl (240 kB)\n",
    ):
        progress.read(line)
    assert str(progress) == "3 requirements found, 19 MB downloaded"
    progress.read("Installing collected packages: numpy, rich, lark\n")
    assert str(progress) == "writing 3 packages"


@pytest.fixture
def bare_environment(tmp_path, monkeypatch):
    """A checkout whose requirement is a pip that prints and records its call, in an environment of its own."""
    for name in install.INPUTS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    pip = script(
        tmp_path / "pip", f'echo "$@" >> {tmp_path}/calls; echo "Collecting x==1"; exit $(cat {tmp_path}/status)'
    )
    (tmp_path / "status").write_text("0")
    monkeypatch.setattr(install, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(pip))
    return tmp_path


def calls(folder: Path) -> int:
    return len((folder / "calls").read_text().splitlines())


def test_an_installed_environment_is_left_alone(bare_environment, capsys):
    assert install.main() == 0
    said = (bare_environment / "calls").read_text().splitlines()
    assert said[0].endswith("--requirement requirements.txt --constraint constraints.txt")
    assert said[1].endswith("--no-deps --requirement requirements-no-deps.txt")
    capsys.readouterr()
    assert install.main() == 0
    assert calls(bare_environment) == len(install.STEPS)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", install.INPUTS)
def test_a_change_of_what_to_install_is_installed(bare_environment, name):
    assert install.main() == 0
    (bare_environment / name).write_text("changed")
    assert install.main() == 0
    assert calls(bare_environment) == 2 * len(install.STEPS)
    makefile = (PROJECT_ROOT / "Makefile").read_text()
    assert name in re.search(r"^\$\(STAMP\):(.*)$", makefile, re.MULTILINE).group(1).split()


def test_a_failed_install_is_shown_and_tried_again(bare_environment, capsys):
    (bare_environment / "status").write_text("3")
    assert install.main() == 3
    assert re.search(r"Collecting x==1\npip failed, all that it said is in .*pip\.log", capsys.readouterr().err)
    assert install.main() == 3
    assert calls(bare_environment) == 2, "nothing is installed after a step that failed"


# --- stripping and generated documents ------------------------------------------------------------------------
def test_stripping_takes_outputs_and_keeps_sources_ids_and_tags(tmp_path):
    cell = nbformat.v4.new_code_cell("1 + 1", metadata={"tags": ["parameters"], "collapsed": True}, execution_count=7)
    cell.outputs = [nbformat.v4.new_output("stream", text="2")]
    path = tmp_path / "dirty.ipynb"
    nbformat.write(
        nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": {"name": "mine", "display_name": "My kernel"}}),
        path,
    )
    (clean,) = nbformat.reads(strip_notebooks.committed_text(path), 4).cells
    assert clean == {
        "cell_type": "code",
        "id": cell.id,
        "source": "1 + 1",
        "metadata": {"tags": ["parameters"]},
        "outputs": [],
        "execution_count": None,
    }


@pytest.mark.parametrize(("file", "first"), [("README.md", "notebooks"), ("CONTRIBUTING.md", "house")])
def test_generated_parts_are_renewed_and_their_places_are_required(file, first):
    page = (PROJECT_ROOT / file).read_text()
    assert update_docs.with_parts(file, page) == page, "try: make format"
    emptied = re.sub(r"(<!-- (\w+): .*? -->).*?(<!-- end of \2 -->)", r"\1\n\3", page, flags=re.DOTALL)
    assert len(emptied) < len(page)
    assert update_docs.with_parts(file, emptied) == page
    with pytest.raises(ValueError, match=f"no part between <!-- {first}"):
        update_docs.with_parts(file, "# A title")


def test_every_setting_is_explained():
    table = update_docs.settings_table()
    assert table.count("\n") == len(Settings.model_fields) + 1
    assert "None" not in table


def test_every_error_is_in_the_troubleshooting_page():
    page = (PROJECT_ROOT / "TROUBLESHOOTING.md").read_text()
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.WorkshopError)]
    leaves = [kind.__name__ for kind in kinds if not kind.__subclasses__()]
    assert leaves
    assert [name for name in leaves if f"`{name}`" not in page] == []


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "TROUBLESHOOTING.md"])
def test_links_between_files_lead_somewhere(document):
    targets = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", (PROJECT_ROOT / document).read_text())
    assert [target for target in targets if not (PROJECT_ROOT / target).exists()] == []
