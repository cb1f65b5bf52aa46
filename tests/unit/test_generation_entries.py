"""Entries for Hub models: what is checked first, what is written, what is left alone; and the options of a request."""

from __future__ import annotations

import gc
import json
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import tiny_hub
import torch
import yaml
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError
from hypothesis import given
from hypothesis import strategies as st

import workshop.text.generation
from scripts import create_repository, model_repository
from workshop.errors import ModelSourceError
from workshop.text.generation import smollm2
from workshop.text.generation.hub import find_hub_model
from workshop.triton.repository import complete_models, read_config

sys.path.append(str(Path(workshop.text.generation.__file__).parent / "served"))  # as the Python backend does

from generation_options import read_options
from generation_packed import PackedLinear, pack_linears
from generation_rows import Prompts, StopScanner
from generation_torch import TorchEngine


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return tiny_hub.save_generator(tmp_path_factory.mktemp("hub") / "tiny-llama")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return tiny_hub.save_classifier(tmp_path_factory.mktemp("hub") / "tiny-bert")


@pytest.fixture
def create(tmp_path, monkeypatch, capsys):
    """Run the command on a repository of its own, without a network; gives exit status, output and the repository."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    repository = tmp_path / "repository"
    repository.mkdir()

    def run(*arguments: str):
        status = create_repository.main(["--repository", str(repository), *arguments])
        captured = capsys.readouterr()
        return status, captured.out + captured.err, repository

    return run


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_writes_what_was_asked_for_and_nothing_else(create, generator, classifier):
    status, _, repository = create(
        "--gen-models", str(generator), "--class-models", str(classifier), "--gen-max-len", "7"
    )
    assert status == 0
    assert complete_models(repository) == ["tiny-bert", "tiny-llama", "tiny-llama_stream"]
    config = read_config(repository / "tiny-llama")
    assert config.parameters["huggingface_model"].string_value == str(generator)
    assert config.parameters["max_length"].string_value == "7"
    assert read_config(repository / "tiny-llama_stream").model_transaction_policy.decoupled


def test_a_second_run_changes_nothing(create, generator):
    _, _, repository = create("--gen-models", str(generator))
    before = {path: path.stat().st_mtime_ns for path in repository.rglob("*")}
    assert create("--gen-models", str(generator))[0] == 0
    assert {path: path.stat().st_mtime_ns for path in repository.rglob("*")} == before


def test_a_dry_run_writes_nothing(create, generator):
    status, output, repository = create("--gen-models", str(generator), "--dry-run")
    assert status == 0
    assert "would write" in output
    assert not list(repository.iterdir())


def test_a_dry_run_downloads_nothing(create, monkeypatch, tmp_path):
    def no_network(*arguments, **options):
        raise AssertionError("asked for a download")

    monkeypatch.setenv("WORKSHOP_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(smollm2, "fetch", no_network)
    for arguments in (["--dry-run"], ["--dry-run", "--gen-models", smollm2.NAME]):
        status, output, repository = create(*arguments)
        assert status == 1
        assert "a dry run does not fetch it" in output
    assert "left out gpt2: 'gpt2' is not in the Hub's cache on this machine" in create("--dry-run")[1]
    assert not (tmp_path / "data").exists()
    assert not list(repository.iterdir())


def test_a_gated_model_says_how_to_get_access(create, monkeypatch):
    def gated(*arguments, local_files_only=False, **options):
        if local_files_only:
            raise LocalEntryNotFoundError("not here")
        raise GatedRepoError("403 Client Error", response=SimpleNamespace(headers={}, request=None, status_code=403))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", gated)
    status, output, repository = create("--gen-models", "somebody/gated-model")
    assert status == 1
    assert "'somebody/gated-model' is gated" in output
    assert "hf auth login" in output
    assert not list(repository.iterdir())


@pytest.mark.slow
def test_without_models_named_and_without_a_hub_the_own_ones_are_written(create):
    status, output, repository = create()
    assert status == 0
    assert "left out gpt2" in output
    assert f"generator: {smollm2.NAME}, whose weights come from a package" in output
    assert "classifier: sentiment, whose weights come with the project" in output
    assert {smollm2.NAME, f"{smollm2.NAME}_stream", "sentiment"} <= set(complete_models(repository))


def test_another_model_called_sentiment_is_left_as_it_is(create):
    _, _, repository = create("--dry-run")
    (repository / "sentiment").mkdir()
    (repository / "sentiment" / "config.pbtxt").write_text('name: "sentiment"\nbackend: "python"\n')
    before = files(repository)
    status, output, _ = create()
    assert status == 1
    assert "is another model; it is left as it is" in output
    assert files(repository) == before


@pytest.mark.parametrize(
    ("missing", "message"),
    [("tokenizer.json", "no tokenizer"), ("model.safetensors", "no weights"), ("config.json", "has no config.json")],
)
def test_nothing_is_written_when_a_file_is_missing(create, generator, classifier, tmp_path, missing, message):
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in classifier.iterdir():
        if path.name != missing:
            (broken / path.name).write_bytes(path.read_bytes())
    status, output, repository = create("--gen-models", str(generator), "--class-models", str(broken))
    assert status == 1
    assert message in output
    assert not list(repository.iterdir())


def test_a_model_of_another_task_is_refused(create, classifier):
    status, output, _ = create("--gen-models", str(classifier))
    assert status == 1
    assert "BertForSequenceClassification, which is no model for text-generation" in output


def test_an_unknown_task_is_refused(generator):
    with pytest.raises(ModelSourceError, match="unknown task 'translation'"):
        find_hub_model(str(generator), "translation")


def test_a_hub_model_offline_is_named_with_the_way_out(create):
    status, output, _ = create("--gen-models", "nobody/such-a-model")
    assert status == 1
    assert "'nobody/such-a-model' is not in the Hub's cache" in output
    assert "name a folder that holds the model" in output


def test_an_entry_that_was_made_by_hand_is_neither_renewed_nor_removed(create, generator):
    _, _, repository = create("--gen-models", str(generator))
    config = repository / "tiny-llama" / "config.pbtxt"
    config.write_text(config.read_text().replace("made_by", "written_by"))
    before = files(repository)
    for arguments in (["--gen-models", str(generator)], ["--remove", "tiny-llama"]):
        status, output, _ = create(*arguments)
        assert status == 1
        assert "not made by create_repository" in output
    assert files(repository) == before
    assert create("--remove", "tiny-llama_stream")[0] == 0
    assert [path.name for path in repository.iterdir()] == ["tiny-llama"]


def test_a_path_is_no_name_to_remove(create, tmp_path):
    status, output, _ = create("--remove", "../repository")
    assert status == 1
    assert "has no entry" in output


def test_an_entry_becomes_an_mlflow_bundle(create, generator, tmp_path, capsys):
    _, _, repository = create("--gen-models", str(generator))
    command = ["export-mlflow", "tiny-llama", "--repository", str(repository), "--target", str(tmp_path / "bundles")]
    assert model_repository.main(command) == 0
    bundle = tmp_path / "bundles" / "tiny-llama"
    assert (bundle / "config.pbtxt").read_text() == (repository / "tiny-llama" / "config.pbtxt").read_text()
    assert (bundle / "1" / "model.py").is_file()
    assert yaml.safe_load((bundle / "MLmodel").read_text())["flavors"] == {"triton": {}}
    assert model_repository.main(command) == 1, "a bundle that is there is not written over"
    (repository / "tiny-llama" / "1" / "model.py").unlink()
    assert model_repository.main([*command[:-1], str(tmp_path / "others")]) == 1
    assert "lacks model.py" in capsys.readouterr().err
    assert not (tmp_path / "others").exists()


@pytest.mark.parametrize("value", [0, -1, 2**31, 1.5, True, "many", None])
def test_numbers_out_of_range_or_of_another_kind_are_refused(value):
    with pytest.raises(ValueError, match="max_tokens must be a whole number from 1 to 2147483647"):
        read_options({"max_tokens": value}, max_length=15, chat=False)


def test_asking_for_any_sampling_means_a_temperature():
    assert read_options({}, max_length=15, chat=False).temperature == 0
    for asked in ({"seed": 1}, {"top_k": 5}, {"top_p": "0.5"}, {"num_sequences": 2}):
        assert read_options(asked, max_length=15, chat=False).temperature == 1
    with pytest.raises(ValueError, match="needs a temperature above 0"):
        read_options({"num_sequences": 2, "temperature": 0}, max_length=15, chat=False)


@pytest.mark.parametrize(
    ("asked", "stops"), [("end", ("end",)), ('["a", "b"]', ("a", "b")), ("[", ("[",)), ("[not json", ("[not json",))]
)
def test_stop_is_a_text_or_a_json_list(asked, stops):
    assert read_options({"stop": asked}, max_length=15, chat=False).stop == stops


@pytest.mark.parametrize("asked", ["", '[""]', "[1]", json.dumps(["x"] * 17)])
def test_stops_that_would_end_everything_or_nothing_are_refused(asked):
    with pytest.raises(ValueError, match="stop must be a text or a JSON list"):
        read_options({"stop": asked}, max_length=15, chat=False)


def engine_and_rows(folder, *prompts, **parameters):
    prompt_maker = Prompts(str(folder))
    engine = TorchEngine(str(folder), prompt_maker.tokenizer, precision="fp32", device="cpu")
    options = read_options({"prompt_format": "text", **parameters}, max_length=15, chat=True)
    return engine, [row for prompt in prompts for row in prompt_maker.rows(prompt, options, engine.context)]


def test_a_cancelled_row_makes_no_further_token_and_its_neighbour_goes_on(generator):
    engine, rows = engine_and_rows(generator, "the sea", "a map", max_tokens=12, temperature=1, seed=1)
    (alone,) = list(zip(*engine.generate(rows[1:], lambda row: False), strict=True))
    cancelled, pieces = set(), [[], []]
    for step, found in enumerate(engine.generate(rows, lambda row: row in cancelled)):
        for piece in found:
            pieces[piece.row].append(piece)
        if step == 4:
            cancelled.add(0)
    assert [piece.tokens for piece in pieces[0]] == [1, 2, 3, 4, 5, 5]
    assert [piece.finish_reason for piece in pieces[0]] == [""] * 5 + ["cancelled"]
    assert "".join(piece.text for piece in pieces[1]) == "".join(piece.text for piece in alone)


@pytest.mark.parametrize("shape", [(1, 6), (8, 6), (3, 5, 6), (300, 6)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_packed_layer_computes_what_the_layer_does(shape, bias):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 4, bias=bias), torch.nn.Linear(4, 4).bfloat16())
    model.requires_grad_(False)
    inputs, layer, half = torch.randn(shape), model[0], model[1]
    pack_linears(model)
    assert isinstance(model[0], PackedLinear)
    assert model[1] is half, "other precisions stay as they are"
    assert torch.allclose(model[0](inputs), layer(inputs), atol=1e-6)


def test_a_closed_engine_lets_its_weights_go(generator):
    engine, rows = engine_and_rows(generator, "the sea")
    weights = [weakref.ref(layer) for layer in engine._model.modules()]
    list(engine.generate(rows, lambda row: False))
    engine.close()
    gc.collect()
    assert weights
    assert not [reference for reference in weights if reference() is not None]


def test_a_chat_prompt_has_the_tokens_of_the_template_and_no_marker_twice(generator):
    prompts = Prompts(str(generator))
    messages = [{"role": "user", "content": "hello"}]
    wanted = prompts.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert prompts.encode("hello", "user") == wanted
    assert prompts.encode(json.dumps(messages), "messages") == wanted


letters = st.text("ab.", max_size=12)


@given(st.lists(letters, max_size=8), st.lists(letters.filter(bool), max_size=3))
def test_however_a_text_is_cut_it_ends_before_its_first_stop(pieces, stops):
    scanner, out, stopped = StopScanner(stops), "", False
    for piece in pieces:
        ready, stopped = scanner.feed(piece)
        out += ready
        if stopped:
            break
    out += scanner.rest()
    whole = "".join(pieces)
    # the end of the earliest stop decides, since it is met first
    met = [whole.find(stop) + len(stop) for stop in stops if stop in whole]
    assert stopped == bool(met)
    assert whole.startswith(out)
    assert not any(stop in out for stop in stops)
    if not met:
        assert out == whole
