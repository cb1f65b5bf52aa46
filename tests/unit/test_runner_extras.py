"""What the runner says when a notebook's optional packages are not installed."""

from importlib import metadata

import pytest

from workshop.errors import RunnerError
from workshop.runner import extras
from workshop.runner.index import Entry, load_index


def entry(*names: str) -> Entry:
    return Entry(name="01_a_b", title="t", goal="g", minutes=1, timeout=60, extras=names)


def test_every_extra_of_the_index_is_one_of_the_project_and_installed_here():
    entries = load_index().notebook
    assert any(entry.extras for entry in entries)
    extras.check_extras(entries)


def test_an_extra_adds_its_own_packages():
    assert "xllamacpp" in extras.packages_of("generation")
    assert "graph-triton-workshop" not in extras.packages_of("generation")


def test_a_missing_package_is_named_with_the_notebook_and_the_command(monkeypatch):
    def version(name):
        if name == "xllamacpp":
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(extras.metadata, "version", version)
    extras.check_extras([entry(), entry("api")])
    with pytest.raises(
        RunnerError, match=r"01_a_b needs the extra 'generation'; not installed: xllamacpp\n.*make setup"
    ):
        extras.check_extras([entry("api", "generation")])


def test_an_unknown_extra_is_refused():
    with pytest.raises(RunnerError, match="no extra 'gold'; it has adapter, api, client"):
        extras.check_extras([entry("gold")])
