"""No code of the project reads what can run code, unpacks archives blindly, or leaves a check out."""

from __future__ import annotations

import ast
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from workshop.settings import PROJECT_ROOT

UNPICKLERS = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
UNPACKERS = {"extractall", "unpack_archive"}


def keyword(call: ast.Call, name: str) -> object:
    """Value of a keyword argument, where it is a literal."""
    return next((k.value.value for k in call.keywords if k.arg == name and isinstance(k.value, ast.Constant)), None)


def complaints(code: str) -> list[str]:
    """What is unsafe in a piece of code, line by line."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in UNPICKLERS:
            found.append((node.lineno, f"imports from {node.module}"))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in UNPICKLERS:
            found += [(node.lineno, ast.unparse(node))] * (node.attr != "UnpicklingError")
        if isinstance(node, ast.Call):
            found += [(node.lineno, text) for text in unsafe(node)]
    return [f"line {line}: {text}" for line, text in sorted(found)]


def unsafe(call: ast.Call) -> Iterator[str]:
    """What is unsafe in a call."""
    name = ast.unparse(call.func)
    last = name.rpartition(".")[2]
    if name == "torch.load" and keyword(call, "weights_only") is not True:
        yield "torch.load without weights_only=True"
    if last == "load" and keyword(call, "allow_pickle"):
        yield f"{name} with allow_pickle=True"
    if name == "yaml.load" and "Loader" not in ast.unparse(call):
        yield "yaml.load without a safe loader"
    if last in UNPACKERS:
        yield f"{name}, which writes wherever the archive says"
    if last in ("eval", "exec") and name in ("eval", "exec"):
        yield name
    if name == "os.system" or keyword(call, "shell") is True:
        yield f"{name} through a shell"
    if keyword(call, "verify") is False:
        yield f"{name} without a check of the certificate"
    if keyword(call, "trust_remote_code"):
        yield f"{name} with trust_remote_code"


def sources() -> list[Path]:
    """Every Python file and notebook of the project but the tests, which read what they have made themselves."""
    listed = subprocess.run(
        ["git", "ls-files", "*.py", "*.ipynb"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
    )
    return [PROJECT_ROOT / name for name in listed.stdout.splitlines() if "tests" not in Path(name).parts]


def code_of(path: Path) -> list[str]:
    """The file's code, a notebook's by cell."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return [text]
    cells = json.loads(text)["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_nothing_in_the_project_is_unsafe():
    paths = sources()
    assert len(paths) > 250
    found = {
        str(path.relative_to(PROJECT_ROOT)): problems
        for path in paths
        if (problems := [problem for code in code_of(path) for problem in complaints(code)])
    }
    assert found == {}


@pytest.mark.parametrize(
    "code",
    [
        "torch.load('x')",
        "torch.load('x', weights_only=False)",
        "import pickle; pickle.load(f)",
        "from joblib import load",
        "np.load('x', allow_pickle=True)",
        "yaml.load(text)",
        "tar.extractall(folder)",
        "shutil.unpack_archive(path)",
        "eval(text)",
        "os.system('ls')",
        "subprocess.run('ls', shell=True)",
        "requests.get(url, verify=False)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_what_is_unsafe_is_found(code):
    assert len(complaints(code)) == 1


@pytest.mark.parametrize(
    "code",
    [
        "torch.load('x', weights_only=True)",
        "try: pass\nexcept pickle.UnpicklingError: pass",
        "yaml.load(text, Loader=ComposeLoader)",
        "np.load('x')",
        "model.eval()",
    ],
)
def test_what_is_safe_passes(code):
    assert complaints(code) == []
