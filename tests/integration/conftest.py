"""One real local stack for all integration tests: started once, on free ports, over a copy of the model repository."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_hub
import tiny_models
from catalogue_world import both_servers, stock
from serving import Kept, running

from workshop import stack
from workshop.settings import Settings, load_settings
from workshop.stack.private import private_settings
from workshop.text.generation.entries import classifier_entry, generator_entries, write_entry
from workshop.text.generation.hub import find_hub_model
from workshop.triton.client import TritonClient

FOLDER = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items):
    """Tests of real servers and a real browser have a second try, which the summary names (R).

    On a machine that is busy with other tests a key press may come late, and Triton 2.51 does not always wake a model
    whose requests wait. What is broken fails twice.
    """
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.flaky(reruns=1))


KEPT = pytest.StashKey[list[Kept]]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    for server in item.config.stash.get(KEPT, ()):
        server.keep()


@pytest.fixture(scope="session")
def kept_servers(pytestconfig) -> list[Kept]:
    """The servers that are looked at before each test."""
    return pytestconfig.stash.setdefault(KEPT, [])


@pytest.fixture(scope="session")
def model_repository(tmp_path_factory) -> Path:
    """A copy of the project's model repository, weights included where they were generated, plus the tiny models."""
    repository = tmp_path_factory.mktemp("models") / "repository"
    shutil.copytree(load_settings().model_repository, repository, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    return repository


@pytest.fixture(scope="session")
def tiny_model_names(model_repository) -> list[str]:
    """Names of the tiny models, written into the repository."""
    own = model_repository.parent / "tiny"
    own.mkdir()
    names = tiny_models.write_torch_models(own) + tiny_models.write_onnx_models(own)
    names.append(tiny_models.write_ensemble(own))
    shutil.copytree(own, model_repository, dirs_exist_ok=True)
    return names


@pytest.fixture(scope="session")
def local_stack(tmp_path_factory, model_repository, tiny_model_names, kept_servers) -> Iterator[Settings]:
    """Settings of a running tritonserver that serves the tiny models; it can load the others of the repository."""
    settings = private_settings(
        tmp_path_factory.mktemp("stack"), model_repository=model_repository, response_cache_mb=16
    )
    with running(settings, tiny_model_names, kept_servers):
        yield settings


@pytest.fixture(scope="session")
def local_store(tmp_path_factory, model_repository) -> Iterator[Settings]:
    """Settings of a running, empty aqlite; its password lies in ``stack_password_file``."""
    settings = private_settings(tmp_path_factory.mktemp("store"), model_repository=model_repository)
    with stack.running(settings, ["aqlite"]):
        yield settings


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Folders of the tiny Hub models by their served names."""
    folder = tmp_path_factory.mktemp("hub")
    return {
        "tiny-llama": tiny_hub.save_generator(folder / "tiny-llama"),
        "tiny-bert": tiny_hub.save_classifier(folder / "tiny-bert"),
    }


@pytest.fixture(scope="module")
def served(local_stack) -> Settings:
    """What ``client`` asks: the stack; a module that loads models of its own says so by a fixture of this name."""
    return local_stack


@pytest.fixture(params=["grpc", "http"])
def client(served, request) -> Iterator[TritonClient]:
    """A client of the stack, over each protocol in turn."""
    with TritonClient.from_settings(served.model_copy(update={"triton_protocol": request.param})) as client:
        yield client


@pytest.fixture(scope="module")
def hub(local_stack, folders) -> Iterator[TritonClient]:
    """A client of the stack, with the tiny Hub models loaded."""
    entries = [
        *generator_entries(find_hub_model(str(folders["tiny-llama"]), "text-generation"), local_stack.data_dir),
        classifier_entry(find_hub_model(str(folders["tiny-bert"]), "text-classification"), local_stack.data_dir),
    ]
    for entry in entries:
        write_entry(entry, local_stack.model_repository)
    with TritonClient.from_settings(local_stack) as client:
        for entry in entries:
            client.load_model(entry.name)
        yield client
        for entry in entries:
            client.unload_model(entry.name)


@pytest.fixture(scope="session")
def world(local_stack, local_store, tmp_path_factory) -> Settings:
    """Settings of servers with every model and collection that the demo shows, on tiny data."""
    from demo_world import filled  # only those who ask for it need a browser's tools

    return filled(local_stack, local_store, tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="session")
def shop(local_stack, local_store, tmp_path_factory) -> Settings:
    """Settings of servers that hold the tiny films and products, and what recommends them."""
    settings = both_servers(local_stack, local_store, "shop")
    with TritonClient.from_settings(settings) as client:
        stock(settings, client, tmp_path_factory.mktemp("shop"))
    return settings
