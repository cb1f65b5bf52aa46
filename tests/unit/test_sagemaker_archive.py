"""The archive of an endpoint: its layout, its bytes, and hostile ones that are refused."""

import io
import shutil
import tarfile

import pytest

from workshop.errors import ArchiveError
from workshop.sagemaker.archive import pack, read_archive, unpack
from workshop.triton.signature import EnsembleStep, ModelSignature, TensorSpec, write_config

ROW = TensorSpec("x", "FP32", (2,))


def model(repository, name, **more):
    given = {"backend": "python", "inputs": (ROW,), "outputs": (ROW,), "max_batch_size": 4, **more}
    write_config(ModelSignature(name=name, **given), repository)
    version = repository / name / "1"
    version.mkdir()
    if "steps" not in more:
        (version / "model.py").write_text(f"# {name}\n")


def chain(repository, name="ensemble", steps=("first", "second")):
    same = {"x": "x"}
    model(
        repository, name, backend="", platform="ensemble", steps=tuple(EnsembleStep(step, same, same) for step in steps)
    )


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    model(folder, "first")
    model(folder, "second")
    chain(folder)
    return folder


def members(path):
    with tarfile.open(path) as tar:
        return {member.name: member for member in tar}


def test_models_lie_at_the_root_and_the_empty_version_of_an_ensemble_is_kept(repository, tmp_path):
    (repository / "first" / "1" / "__pycache__").mkdir()
    (repository / "first" / ".hidden").write_text("left out")
    archive = pack(repository, tmp_path / "model.tar.gz")
    assert (archive.model, archive.models) == ("ensemble", ("ensemble", "first", "second"))
    found = members(archive.path)
    assert set(found) == {
        *("ensemble", "ensemble/1", "ensemble/config.pbtxt"),
        *(f"{name}{part}" for name in ("first", "second") for part in ("", "/1", "/1/model.py", "/config.pbtxt")),
    }
    assert found["ensemble/1"].isdir()
    assert archive.megabytes == archive.path.stat().st_size / 1e6
    assert read_archive(archive.path) == archive
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_same_files_give_the_same_bytes_whenever_and_by_whomever_they_were_written(repository, tmp_path):
    first = pack(repository, tmp_path / "one.tar.gz")
    again = shutil.copytree(repository, tmp_path / "again", copy_function=shutil.copyfile)
    (again / "first" / "1" / "model.py").chmod(0o600)
    second = pack(again, tmp_path / "two.tar.gz")
    assert first.path.read_bytes() == second.path.read_bytes()
    (again / "first" / "1" / "model.py").write_text("# another\n")
    assert pack(again, tmp_path / "two.tar.gz").sha256 != first.sha256


def test_what_was_packed_comes_out_again(repository, tmp_path):
    folder = unpack(pack(repository, tmp_path / "model.tar.gz").path, tmp_path / "out")
    assert {path.relative_to(folder) for path in folder.rglob("*")} == {
        path.relative_to(repository) for path in repository.rglob("*")
    }
    (folder / "stale").write_text("of an earlier archive")
    assert not (unpack(tmp_path / "model.tar.gz", folder) / "stale").exists()


def test_one_model_alone_is_its_own_entry(repository, tmp_path):
    assert pack(repository, tmp_path / "model.tar.gz", ["second"]).model == "second"


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (["first", "second"], "holds one model, or one ensemble and its steps; this one has first, second"),
        (["ensemble", "first"], "has the steps first, second, the archive would hold first"),
        (["ensemble", "first", "second", "third"], "the archive would hold first, second, third"),
        (["missing"], "missing/config.pbtxt: missing"),
        (["hollow"], "model 'hollow' cannot be packed: model.py missing"),
        ([], "this one has none"),
    ],
)
def test_what_an_endpoint_could_not_serve_is_not_packed(repository, tmp_path, models, message):
    model(repository, "third")
    model(repository, "hollow")
    (repository / "hollow" / "1" / "model.py").unlink()
    with pytest.raises(ArchiveError, match=message):
        pack(repository, tmp_path / "model.tar.gz", models)
    assert not (tmp_path / "model.tar.gz").exists()


def test_a_model_folder_in_the_place_of_the_repository_is_refused(repository, tmp_path):
    with pytest.raises(ArchiveError, match=r"has a config\.pbtxt at its root"):
        pack(repository / "first", tmp_path / "model.tar.gz", ["1"])


def member(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, 4 if kind == tarfile.REGTYPE else 0
    return info


HOSTILE = {
    "parent": (member("../evil"), "would write outside its folder: '../evil'"),
    "inner parent": (member("first/../../evil"), "would write outside its folder"),
    "absolute": (member("/tmp/evil"), "would write outside its folder: '/tmp/evil'"),
    "symbolic link": (member("first", tarfile.SYMTYPE, "/etc"), "is a link or a device"),
    "hard link": (member("first", tarfile.LNKTYPE, "../evil"), "is a link or a device"),
    "device": (member("null", tarfile.CHRTYPE), "is a link or a device"),
    "pipe": (member("pipe", tarfile.FIFOTYPE), "is a link or a device"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_an_archive_that_would_reach_outside_its_folder_is_refused_and_nothing_is_left(tmp_path, case):
    evil, message = HOSTILE[case]
    path = tmp_path / "hostile.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(member("harmless"), io.BytesIO(b"text"))
        tar.addfile(evil, io.BytesIO(b"evil"))
    with pytest.raises(ArchiveError, match=message):
        unpack(path, tmp_path / "inside" / "out")
    assert sorted(found.name for found in tmp_path.rglob("*")) == ["hostile.tar.gz", "inside"]


def test_a_file_in_the_way_of_a_folder_is_refused(tmp_path):
    with tarfile.open(tmp_path / "odd.tar.gz", "w:gz") as tar:
        for name in ("first", "first/1"):
            tar.addfile(member(name), io.BytesIO(b"text"))
    with pytest.raises(ArchiveError, match="is no whole"):
        unpack(tmp_path / "odd.tar.gz", tmp_path / "out")


def test_damaged_and_missing_archives_are_named(repository, tmp_path):
    whole = pack(repository, tmp_path / "model.tar.gz").path.read_bytes()
    for name, content in {
        "cut": whole[:-40],
        "text": b"no archive",
        "altered": whole[:60] + b"xx" + whole[62:],
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ArchiveError, match=rf"{name} is no whole \.tar\.gz archive"):
            unpack(tmp_path / name, tmp_path / "out")
        assert not (tmp_path / "out").exists()
    with pytest.raises(ArchiveError, match=r"nowhere is not there(?s:.*)sagemaker\.py pack"):
        read_archive(tmp_path / "nowhere")
