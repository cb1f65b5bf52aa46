"""What a compiled file was made for: what is compared, and what is refused with a way out."""

import hashlib
import json

import pytest

from workshop.triton.compiled_target import check, misfits, processor

HERE = {"device": "cpu", "machine": "x86_64", "instructions": "avx avx2 fma", "torch": "2.13.0"}


@pytest.fixture
def package(tmp_path):
    file = tmp_path / "model.pt2"
    file.write_bytes(b"machine code")
    sidecar = {"model_sha256": hashlib.sha256(b"machine code").hexdigest(), "settings": {**HERE, "more": "facts"}}
    (tmp_path / "model.json").write_text(json.dumps(sidecar))
    return file


def test_the_instructions_of_this_processor_are_read_and_the_others_left_out(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx512f avx2 fma hypervisor amx_bf16\nbugs\t\t: none\n")
    assert processor(cpuinfo)["instructions"] == "amx_bf16 avx2 avx512f fma"
    assert processor(tmp_path / "nowhere")["instructions"] == ""
    assert "sse2" in processor()["instructions"].split() or processor()["machine"] != "x86_64"


def test_a_processor_may_have_more_instructions_and_nothing_else_may_differ():
    assert misfits(HERE, {**HERE, "instructions": "avx avx2 avx512f fma"}) == []
    assert misfits(HERE, {**HERE, "instructions": "avx"}) == ["this processor lacks the instructions avx2, fma"]
    assert misfits(HERE, {**HERE, "torch": "2.14.0"}) == ["torch is 2.14.0 here, and the file was made for 2.13.0"]


def test_a_file_of_this_machine_passes(package):
    check(package, HERE)


def test_an_altered_file_is_refused(package):
    package.write_bytes(b"machine c0de")
    with pytest.raises(ValueError, match=r"was altered: its SHA-256 is .*compile it on the machine that serves it"):
        check(package, HERE)


def test_a_file_of_another_machine_is_refused(package):
    with pytest.raises(ValueError, match=r"lacks the instructions avx2, fma: compile it on the machine"):
        check(package, {**HERE, "instructions": "avx"})


@pytest.mark.parametrize("content", [None, "no JSON", '{"model_sha256": "1"}', '{"settings": {}}'])
def test_a_file_that_nobody_describes_is_refused(package, content):
    sidecar = package.with_name("model.json")
    sidecar.unlink() if content is None else sidecar.write_text(content)
    with pytest.raises(ValueError, match=r"model.json does not say what model.pt2 was made for"):
        check(package, HERE)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no file .*model.pt2: compile it on the machine"):
        check(tmp_path / "model.pt2", HERE)
