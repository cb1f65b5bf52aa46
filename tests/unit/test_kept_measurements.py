"""Measurements of an earlier run are found again for the same file, machine and way, and for nothing else."""

import json
import math

import pytest

from workshop.errors import DataCorruptError
from workshop.evaluate.kept import Kept, processor_name


def test_what_was_kept_is_found_for_the_same_file_alone(tmp_path):
    path = tmp_path / "measured" / "forms.json"
    Kept(path, seconds=2.5).keep("int8", "a" * 64, {"single": 90.5, "memory_mb": math.nan})
    Kept(path, seconds=2.5).keep("fp32", "b" * 64, {"single": 30.0})
    kept = Kept(path, seconds=2.5)
    assert kept.find("fp32", "b" * 64).values == {"single": 30.0}
    found = kept.find("int8", "a" * 64)
    assert found.values["single"] == 90.5
    assert math.isnan(found.values["memory_mb"])
    assert len(found.measured) == len("2026-01-31 10:00")
    assert kept.find("int8", "c" * 64) is None
    assert kept.find("bf16", "a" * 64) is None


@pytest.mark.parametrize("change", [{"processor": "another"}, {"cores": 1000}, {"seconds": 9.0}])
def test_another_machine_or_way_finds_nothing_and_its_keeping_drops_the_rest(tmp_path, change):
    path = tmp_path / "forms.json"
    Kept(path, seconds=2.5).keep("int8", "a", {"single": 90.0})
    content = json.loads(path.read_text())
    content["way"] |= change
    path.write_text(json.dumps(content))
    kept = Kept(path, seconds=2.5)
    assert kept.find("int8", "a") is None
    kept.keep("fp32", "b", {"single": 30.0})
    assert list(json.loads(path.read_text())["measurements"]) == ["fp32"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"way": {}, "measurements": {"int8": {"values": {}}}}'])
def test_a_file_that_holds_no_measurements_is_named(tmp_path, text):
    path = tmp_path / "forms.json"
    path.write_text(text)
    with pytest.raises(DataCorruptError, match=r"forms\.json holds no measurements"):
        Kept(path).find("int8", "a")


def test_the_processor_has_a_name(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor : 0\nmodel name\t: A processor @ 2 GHz\n")
    assert processor_name(cpuinfo) == "A processor @ 2 GHz"
    assert processor_name(tmp_path / "none")
