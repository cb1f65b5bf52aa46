"""Hints name commands that exist where the reader is."""

from __future__ import annotations

import ast
import re

import pytest

from workshop.errors import COMPOSE_VARIABLE, SettingsError, WorkshopError
from workshop.sagemaker.front_end import FrontEnd
from workshop.settings import PROJECT_ROOT, load_settings

MAKE = re.compile(r"\bmake (setup|up|down|status|password|run|lab|test|check|bench|api)\b")


def hints() -> set[str]:
    """Strings of the library that name a make target, without docstrings and the descriptions of settings."""
    found = set()
    for path in sorted((PROJECT_ROOT / "workshop").rglob("*.py")):
        tree = ast.parse(path.read_text())
        told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        told |= {
            id(word.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            for word in node.keywords
            if word.arg == "description"
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
                found |= {node.value} if MAKE.search(node.value) and path.name != "errors.py" else set()
    return found


def test_a_hint_names_make_on_a_machine_with_make(monkeypatch):
    monkeypatch.delenv(COMPOSE_VARIABLE, raising=False)
    assert str(WorkshopError("no answer", hint="make up")) == "no answer\nTry: make up"


@pytest.mark.parametrize("hint", sorted(hints()))
def test_a_hint_names_no_make_in_the_container(hint, monkeypatch):
    monkeypatch.setenv(COMPOSE_VARIABLE, "1")
    error = WorkshopError("no answer", hint=hint)
    assert not MAKE.search(str(error)), error
    assert "docker compose" in error.hint or "python scripts/" in error.hint


def test_the_commands_named_in_the_container_exist(monkeypatch):
    monkeypatch.setenv(COMPOSE_VARIABLE, "1")
    scripts = {name for hint in hints() for name in re.findall(r"scripts/\w+\.py", WorkshopError("", hint=hint).hint)}
    assert {"scripts/run_notebooks.py", "scripts/fetch_data.py", "scripts/stack.py"} <= scripts
    assert all((PROJECT_ROOT / name).is_file() for name in scripts)


@pytest.mark.parametrize(("compose", "way"), [("", "make down, then make up"), ("1", "docker compose stop")])
def test_the_front_end_that_no_container_has_is_looked_for_on_the_local_stack(compose, way, monkeypatch):
    monkeypatch.setenv(COMPOSE_VARIABLE, compose)
    with pytest.raises(SettingsError, match="local stack") as caught:
        FrontEnd.from_settings(load_settings(sagemaker_port=0))
    assert way in caught.value.hint
    assert "restart" not in caught.value.hint, "no start of the same containers brings one"
