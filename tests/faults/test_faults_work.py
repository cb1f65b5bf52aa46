"""Faults of what users run: embedding, notebooks, dumps and traces that are killed, or have no room to write."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import served_models
from small_disk import on_small_disk
from tiny_notebooks import write_index, write_notebook
from waiting import wait_for

from workshop import stack
from workshop.errors import DumpError, ServerUnreachableError, StoreUnreachableError
from workshop.runner.execute import kernel_environment
from workshop.settings import PROJECT_ROOT
from workshop.stack import process
from workshop.stack.private import private_settings
from workshop.store.bulk import upsert
from workshop.store.connection import connect
from workshop.store.dump import make_dump
from workshop.store.embeddings import embed_collection
from workshop.store.restore import restore_dump
from workshop.store.schema import EdgeDefinition, GraphSchema, ensure_schema
from workshop.triton.client import TritonClient
from workshop.triton.repository import check_repository

FILMS = [{"_key": f"f{number:04d}", "title": f"film {number}", "overview": "text " * 5} for number in range(2000)]
SCHEMA = GraphSchema("g", ("films",), (EdgeDefinition("likes", ("films",), ("films",)),))
EMBEDDING_SCRIPT = Path(__file__).with_name("embed_films.py")
TRACING_SCRIPT = Path(__file__).with_name("tiny_trace.py")
DUMPING_SCRIPT = Path(__file__).with_name("dump_graph.py")


def embed(settings, database, progress=None):
    with TritonClient.from_settings(settings, timeout=20, retries=0) as client:
        return embed_collection(
            database,
            "films",
            lambda texts: client.infer("embed", {"TEXT": np.array(texts, object)[:, None]})["EMBEDDING"],
            model_version="embed 1",
            dimension=served_models.WIDTH,
            batch_texts=100,
            progress=progress,
        )


def embedded(database) -> dict[str, str]:
    """Revisions of the documents that have a vector, by key."""
    rows = database.aql.execute("FOR d IN films FILTER d.embedding RETURN [d._key, d._rev]")
    return dict(rows)


def script(settings, path: Path, *arguments: str) -> subprocess.Popen:
    """A Python script of this folder as a process of its own, with these settings; its output is piped."""
    folders = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
    environment = kernel_environment(settings)
    environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], *folders])
    command = [sys.executable, str(path), *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def check_nothing_twice(database, before: dict[str, str], report) -> None:
    """What was embedded before a fault is untouched, the rest was embedded once."""
    after = embedded(database)
    assert len(after) == database.collection("films").count() == len(FILMS)
    assert {key: after[key] for key in before} == before
    assert report.already_there == len(before)
    assert report.stored == len(FILMS) - len(before)


@pytest.mark.fault(
    broken="kill -9 of a client in the middle of embedding 2,000 documents",
    expected="what was stored stays; run again, the rest is embedded, and nothing a second time",
)
def test_a_client_is_killed_while_embedding(triton, store, database):
    upsert(database, database.create_collection("films").name, FILMS)
    client = script(triton, EMBEDDING_SCRIPT, database.name)
    wait_for(lambda: embedded(database), "a first batch of vectors", 60)
    client.kill()
    client.communicate()
    # a batch that was on its way is stored whole, or not at all
    before = embedded(database)
    assert 0 < len(before) < len(FILMS)
    assert len(before) % 100 == 0
    check_nothing_twice(database, before, embed(triton, database))


@pytest.mark.fault(
    broken="kill -9 of Triton in the middle of embedding",
    expected="ServerUnreachableError; with the server restarted, the rest is embedded, and nothing a second time",
)
@pytest.mark.long
def test_triton_is_killed_while_embedding(triton, store, database):
    upsert(database, database.create_collection("films").name, FILMS)

    def kill_midway(done: int, _: int) -> None:
        if done >= 500 and (identity := process.read_identity(triton.stack_dir.resolve(), "triton")):
            os.kill(identity.pid, signal.SIGKILL)

    with pytest.raises(ServerUnreachableError):
        embed(triton, database, progress=kill_midway)
    before = embedded(database)
    assert len(before) >= 500
    stack.up(triton, ["triton"], models=served_models.NAMES)
    check_nothing_twice(database, before, embed(triton, database))


@pytest.mark.fault(
    broken="kill -9 of the store in the middle of embedding",
    expected="StoreUnreachableError; restarted, it has what it acknowledged, and the rest is embedded once",
)
@pytest.mark.long
def test_the_store_is_killed_while_embedding(triton, store, database):
    upsert(database, database.create_collection("films").name, FILMS)
    acknowledged = [0]

    def kill_midway(done: int, _: int) -> None:
        acknowledged.append(done)
        if done >= 500 and (identity := process.read_identity(store.stack_dir.resolve(), "aqlite")):
            os.kill(identity.pid, signal.SIGKILL)

    with pytest.raises(StoreUnreachableError):
        embed(triton, database, progress=kill_midway)
    stack.up(store, ["aqlite"])
    before = embedded(database)
    assert len(before) >= acknowledged[-1] >= 500
    check_nothing_twice(database, before, embed(triton, database))


# --- notebooks ------------------------------------------------------------------------------------------------
NOTEBOOK = """
import time
from pathlib import Path
from embed_films import embed_films
from workshop.settings import load_settings
"""


def notebook_run(settings, folder: Path, name: str) -> subprocess.Popen:
    arguments = ("--index", str(folder / "index.toml"), "--runs-dir", str(folder / "runs"), name)
    return script(settings, PROJECT_ROOT / "scripts" / "run_notebooks.py", *arguments)


def write_notebooks(folder: Path, **cells: str) -> None:
    """Notebooks that have the same imports, and an index that has them need both servers."""
    for name, cell in cells.items():
        write_notebook(folder, name, NOTEBOOK, cell)
    write_index(folder, *(f'name = "{name}"\nneeds = ["triton", "arangodb"]' for name in cells))


@pytest.mark.fault(
    broken="kill -9 of a notebook run and its kernel in the middle of embedding",
    expected="the kernel ends; run again, the notebook passes, and nothing is stored a second time",
)
@pytest.mark.long
def test_a_notebook_run_is_killed(triton, store, database, tmp_path):
    upsert(database, database.create_collection("films").name, FILMS)
    write_notebooks(tmp_path, **{"01_embed_films": f"print(embed_films(load_settings(), {database.name!r}))"})
    run = notebook_run(triton, tmp_path, "01")
    wait_for(lambda: embedded(database), "a first batch of vectors", 120)
    kernels = psutil.Process(run.pid).children(recursive=True)
    run.kill()
    run.communicate()
    psutil.wait_procs(kernels, timeout=30)
    assert not any(kernel.is_running() for kernel in kernels), "the kernel ends with its run"
    before = embedded(database)
    again = notebook_run(triton, tmp_path, "01")
    output, _ = again.communicate(timeout=200)
    assert again.returncode == 0, output
    after = embedded(database)
    assert len(after) == database.collection("films").count() == len(FILMS)
    assert {key: after[key] for key in before} == before


@pytest.mark.fault(
    broken="two notebook runs at once in one checkout; the one that started the servers ends first",
    expected="both pass; the servers stay until the second has ended, and stop then; what both wrote is whole",
)
@pytest.mark.long
def test_two_runs_at_once(tmp_path):
    settings = private_settings(tmp_path / "stack", model_repository=tmp_path / "models", arango_password="")
    served_models.write_models(settings.model_repository)
    shutil.rmtree(settings.model_repository / "scale")
    meet = f"""
from tiny_trace import trace_tiny
mine, other = (Path({str(tmp_path)!r}) / name for name in {{names}})
mine.touch()
end = time.monotonic() + 100
while not other.exists() and time.monotonic() < end:
    time.sleep(0.05)
trace_tiny(load_settings().model_repository, times=5)
"""
    stay = f"""
first_run = Path({str(tmp_path)!r}) / "first has ended"
while not first_run.exists() and time.monotonic() < end:
    time.sleep(0.05)
"""
    films = 'print(embed_films(load_settings(), "workshop"))'
    write_notebooks(
        tmp_path,
        **{
            "01_first_run": meet.format(names=("one", "two")) + films,
            "02_other_run": meet.format(names=("two", "one")) + stay + films,
        },
    )
    try:
        first = notebook_run(settings, tmp_path, "01")
        wait_for((tmp_path / "one").exists, "the first run's notebook", 120)
        upsert(connect(settings), connect(settings).create_collection("films").name, FILMS)
        second = notebook_run(settings, tmp_path, "02")
        output, _ = first.communicate(timeout=200)
        assert first.returncode == 0, output
        assert [status.state for status in stack.status(settings)] == ["ready", "ready"]
        (tmp_path / "first has ended").touch()
        output, _ = second.communicate(timeout=200)
        assert second.returncode == 0, output
        assert [status.state for status in stack.status(settings)] == ["stopped", "stopped"]
        assert not check_repository(settings.model_repository, ())
        with stack.running(settings, ["aqlite"]):
            assert len(embedded(connect(settings))) == len(FILMS)
    finally:
        stack.down(settings)


# --- files ----------------------------------------------------------------------------------------------------
@pytest.mark.fault(
    broken="the disk (a tmpfs of 1 MB) is full while a model is traced and saved, over an earlier version of it",
    expected="OSError names the cause; the earlier version is whole, and no half file is left",
)
def test_the_disk_is_full_while_tracing(tmp_path):
    disk = tmp_path / "disk"
    command = on_small_disk((sys.executable, str(TRACING_SCRIPT), str(disk / "models")), disk, megabytes=1)
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout.splitlines()[-1])
    assert "No space left" in report["error"]
    assert report["problems"] == []
    assert report["left"] == report["before"]


@pytest.mark.fault(
    broken="kill -9 of a process in the middle of writing a dump over an earlier one",
    expected="the earlier dump is whole; written again, the new one is too, and nothing half is left",
)
@pytest.mark.long
def test_a_dump_is_half_written(store, database, tmp_path):
    ensure_schema(database, SCHEMA)
    upsert(database, "films", FILMS)
    folder = tmp_path / "dump"
    make_dump(database, folder, "g", data_set="films")
    upsert(database, "films", [{"_key": f"more{number}", "text": "x" * 2000} for number in range(20_000)])
    writer = script(store, DUMPING_SCRIPT, database.name, str(folder))
    wait_for(lambda: any(path.stat().st_size > 10_000 for path in tmp_path.glob(".dump.*/*.gz")), "half a dump", 60)
    writer.kill()
    writer.communicate()
    assert list(tmp_path.glob(".dump.*"))
    other = connect(store, database=f"{database.name}_2")
    assert restore_dump(other, folder, data_set="films").documents == {"films": len(FILMS), "likes": 0}
    make_dump(database, folder, "g", data_set="films")
    assert restore_dump(other, folder, data_set="films").documents["films"] == len(FILMS) + 20_000
    assert not list(tmp_path.glob(".dump.*"))
    connect(store, database="_system").delete_database(other.name)


@pytest.mark.fault(
    broken="a dump was copied by half: files cut at every tenth of their length, or missing",
    expected="DumpError names the file before anything is written",
)
def test_a_dump_is_half_copied(store, database, tmp_path):
    ensure_schema(database, SCHEMA)
    upsert(database, "films", FILMS)
    make_dump(database, tmp_path / "dump", "g", data_set="films")
    other = connect(store, database=f"{database.name}_2")
    for source in sorted((tmp_path / "dump").iterdir()):
        for tenths in (None, *range(10)):
            copy = tmp_path / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(tmp_path / "dump", copy)
            if tenths is None:
                (copy / source.name).unlink()
            else:
                os.truncate(copy / source.name, source.stat().st_size * tenths // 10)
            if source.name in ("ENCRYPTION", "dump.json"):
                continue  # not vouched for by the manifest: the former is of one word, the latter is read whole
            with pytest.raises(DumpError, match=source.name.replace(".", r"\.")):
                restore_dump(other, copy, data_set="films")
    assert not other.has_collection("films")
    connect(store, database="_system").delete_database(other.name)


@pytest.mark.fault(
    broken="kill -9 of the store in the middle of restoring a dump",
    expected="StoreUnreachableError; run again, the restore goes on where it was, and every document is there once",
)
@pytest.mark.long
def test_the_store_is_killed_while_restoring(store, database, tmp_path):
    ensure_schema(database, SCHEMA)
    upsert(database, "films", FILMS)
    make_dump(database, tmp_path / "dump", "g", data_set="films")
    other = connect(store, database=f"{database.name}_2")

    def kill_midway(done: int, _: int) -> None:
        if done >= 1000 and (identity := process.read_identity(store.stack_dir.resolve(), "aqlite")):
            os.kill(identity.pid, signal.SIGKILL)

    with pytest.raises(StoreUnreachableError):
        restore_dump(other, tmp_path / "dump", progress=kill_midway)
    stack.up(store, ["aqlite"])
    report = restore_dump(other, tmp_path / "dump")
    assert report.resumed >= 500
    assert other.collection("films").count() == len(FILMS)
    assert not other.has_collection("restore_progress")
    connect(store, database="_system").delete_database(other.name)
