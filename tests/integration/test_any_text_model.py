"""Any sentence BERT, from its folder to the served vector, judged by sentence-transformers on the same folder."""

import json
import shutil

import numpy as np
import pytest
import tiny_text_models
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from serving import running

from workshop.errors import (
    ModelSourceError,
    PrecisionLossError,
    RepositoryError,
    TensorShapeError,
    TensorValueError,
)
from workshop.export.gates import LEAST_COSINES, row_cosines
from workshop.export.torchscript import load_traced
from workshop.settings import load_settings
from workshop.stack.private import private_settings
from workshop.store.connection import connect
from workshop.store.dump import make_dump
from workshop.store.embeddings import embed_collection
from workshop.store.restore import restore_dump
from workshop.store.vector_index import ensure_vector_index
from workshop.text import sources
from workshop.text.classifier import ZeroShotClassifier
from workshop.text.embedder import TextEmbedder
from workshop.text.prepare import (
    prepare_sentence_bert,
    prepare_zero_shot,
    sentence_inputs,
    sentence_source,
    zero_shot_inputs,
    zero_shot_source,
)
from workshop.text.sentence_bert import load_sentence_bert
from workshop.text.sentiment.prepare import prepare_sentence_steps
from workshop.text.served import served_tokenizer
from workshop.text.zero_shot import load_zero_shot
from workshop.triton.artefact import LEAST_FP32_COSINE, served_sidecar, version_folder
from workshop.triton.client import TritonClient

KINDS = tiny_text_models.KINDS
LOAD_SECONDS = 120
TEXTS = ["A heist goes wrong in winter", "TWO FRIENDS", "café in Zürich", "", "the moons of Jupiter " * 60]
MODELS = ("text_tokenizer", "sentence_bert", "text_embedding", "zero_shot_tokenizer", "zero_shot", "zero_shot_text")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One folder in Hub format for each kind of model."""
    home = tmp_path_factory.mktemp("hub")
    return {name: tiny_text_models.save_sentence_model(home / name, kind) for name, kind in KINDS.items()}


@pytest.fixture(scope="module")
def settings(tmp_path_factory, kept_servers):
    """A server of its own, with a response cache, whose repository holds the text models as committed."""
    repository = tmp_path_factory.mktemp("models") / "repository"
    for name in MODELS:
        committed = shutil.ignore_patterns("model.pt", "*.json", "tokenization.py", "__pycache__")
        shutil.copytree(load_settings().model_repository / name, repository / name, ignore=committed)
    own = private_settings(
        tmp_path_factory.mktemp("stack"),
        model_repository=repository,
        response_cache_mb=16,
        precision="fp32",
        triton_timeout=LOAD_SECONDS,
    )
    with running(own, [], kept_servers):
        yield own


@pytest.fixture(scope="module")
def client(settings):
    with TritonClient.from_settings(settings) as client:
        yield client


@pytest.fixture(scope="module")
def serve(client, settings, folders):
    """Trace the model of a kind and load it, unless it is the one that is served; its settings."""
    served = ()

    def serve(name, precision="fp32"):
        nonlocal served
        own = settings.model_copy(update={"sentence_model": str(folders[name]), "precision": precision})
        if (name, precision) != served:
            prepare_sentence_bert(own)
            client.load_model("text_embedding")
            served = (name, precision)
        return own

    return serve


@pytest.mark.parametrize("name", KINDS)
def test_served_vectors_are_those_of_sentence_transformers(client, serve, folders, name):
    settings = serve(name)
    kind, embed = KINDS[name], TextEmbedder(client)
    expected = SentenceTransformer(str(folders[name]), device="cpu").encode(TEXTS)
    vectors = embed(TEXTS)
    strings = client.infer("text_embedding", {"TEXT": [[text] for text in TEXTS]})["EMBEDDING"]
    assert vectors.shape == strings.shape == (len(TEXTS), kind.width)
    for received in (vectors, strings):
        assert row_cosines(expected, received).min() >= LEAST_COSINES["fp32"]
        np.testing.assert_allclose(received, expected, atol=1e-4)
    encoding = embed.encoding
    assert (encoding.width, encoding.pooling, encoding.normalised) == (kind.width, kind.pooling, kind.normalised)
    assert (encoding.max_tokens, encoding.prompt) == (kind.max_tokens, kind.prompt)
    sidecar = served_sidecar(settings.model_repository, "sentence_bert")
    assert sidecar.facts == client.signature("sentence_bert").parameters
    assert min(sidecar.cosines.values()) >= LEAST_COSINES["fp32"]


@pytest.mark.parametrize("name", ["cls", "sentencepiece_bert", "mpnet"])
def test_vectors_served_in_bf16_are_those_of_sentence_transformers_in_float32(client, serve, folders, name):
    settings = serve(name, "bf16")
    expected = SentenceTransformer(str(folders[name]), device="cpu").encode(TEXTS)
    assert row_cosines(expected, TextEmbedder(client)(TEXTS)).min() >= LEAST_FP32_COSINE
    sidecar = served_sidecar(settings.model_repository, "sentence_bert")
    assert sidecar.precision == "bf16"
    assert LEAST_FP32_COSINE <= sidecar.fp32_cosine < 1.0
    assert sidecar.version_name.replace("bf16", "fp32") in sidecar.equivalent_version_names


@pytest.fixture
def cancelling(settings, folders, tmp_path):
    """Settings of a model whose words differ in the digits that bf16 has not: layer norm takes the rest away."""
    folder = shutil.copytree(folders["distilbert"], tmp_path / "cancelling")
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.word_embeddings.weight"] += 8
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    changes = {"sentence_model": str(folder), "model_repository": tmp_path / "repository"}
    return settings.model_copy(update=changes)


@pytest.mark.parametrize("prepare", [prepare_sentence_bert, prepare_zero_shot, prepare_sentence_steps])
def test_a_model_that_rounding_breaks_is_refused_in_bf16_and_becomes_float32_where_bf16_was_our_choice(
    cancelling, monkeypatch, caplog, prepare
):
    with pytest.raises(PrecisionLossError, match=r"at bf16 loses precision: (?s:.*)Try: WORKSHOP_PRECISION=fp32"):
        prepare(cancelling.model_copy(update={"precision": "bf16"}))
    assert not cancelling.model_repository.exists()
    monkeypatch.setattr(sources, "cpu_has_bf16_units", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    auto = cancelling.model_copy(update={"precision": "auto"})
    placed = prepare(auto)
    assert "loses precision" in caplog.text
    assert "becomes float32" in caplog.text
    sidecar = placed["sentence_encoder"] if isinstance(placed, dict) else placed
    assert sidecar.precision == "fp32"
    assert sidecar.version_name.replace("fp32", "bf16") not in sidecar.equivalent_version_names
    caplog.clear()
    assert prepare(auto) == placed
    assert not caplog.text, "what was refused once is not tried again"


def test_ids_beyond_the_vocabulary_and_texts_beyond_the_longest_input_are_not_sent(client, serve):
    serve("short")
    good = np.zeros((1, 16), np.int64)
    for value in (10**6, -1):
        with pytest.raises(TensorValueError, match=r"expected values from 0 to \d+, received"):
            client.infer("sentence_bert", {"input_ids__0": good + value, "attention_mask__1": good + 1})
    long = np.zeros((1, 21), np.int64)
    with pytest.raises(TensorShapeError, match="received 21 along the last axis, the model takes at most 20"):
        client.infer("sentence_bert", {"input_ids__0": long, "attention_mask__1": long + 1})


def test_a_model_that_does_not_say_how_it_encodes_is_refused(client, serve):
    serve("short")
    with pytest.raises(RepositoryError, match=r"does not say tokenizer_sha256(?s:.*)not its ensemble"):
        TextEmbedder(client, "text_embedding")


def test_an_embedder_takes_no_tokenizer_but_the_served_one(client, serve, settings, folders, tmp_path):
    serve("short")
    stale = TextEmbedder(client)
    question = {"TEXT": [["which model answers?"]]}
    answers = [client.infer("text_embedding", question)["EMBEDDING"]]
    served_file = version_folder(settings.model_repository, "sentence_bert", 1) / "tokenizer.json"
    copy = shutil.copy(served_file, tmp_path / "tokenizer.json")
    with TritonClient(client.url) as elsewhere:
        with pytest.raises(RepositoryError, match="the client knows no model repository"):
            TextEmbedder(elsewhere)
        np.testing.assert_array_equal(TextEmbedder(elsewhere, tokenizer_file=copy)(TEXTS), stale(TEXTS))
        with pytest.raises(RepositoryError, match="is not the tokenizer of the served model 'sentence_bert'"):
            TextEmbedder(elsewhere, tokenizer_file=folders["cased"] / "tokenizer.json")
    serve("wide")
    answers.append(client.infer("text_embedding", question)["EMBEDDING"])
    assert answers[0].shape[1] != answers[1].shape[1], "the response cache answered for the model before"
    with pytest.raises(RepositoryError, match=r"was replaced(?s:.*)make a new TextEmbedder"):
        stale(["a text of the model before"])
    with (
        TritonClient(client.url, model_repository=tmp_path) as other_repository,
        pytest.raises(RepositoryError, match=r"holds no tokenizer\.json with the SHA-256"),
    ):
        TextEmbedder(other_repository)


def test_wide_vectors_reach_store_index_and_dump(client, serve, local_store, tmp_path):
    settings = serve("wide")
    embed = TextEmbedder(client)
    version = served_sidecar(settings.model_repository, "sentence_bert").version_name
    database = connect(local_store, database="wide_texts")
    links = {
        "edge_collection": "links",
        "from_vertex_collections": ["texts"],
        "to_vertex_collections": ["texts"],
    }
    database.create_graph("text_graph", edge_definitions=[links])
    database.collection("texts").insert_many([{"_key": str(n), "title": f"text number {n}"} for n in range(600)])
    narrow = np.random.default_rng(0)
    embed_collection(
        database,
        "texts",
        lambda texts: narrow.normal(size=(len(texts), 8)).astype(np.float32),
        model_version="narrow",
        dimension=8,
    )
    assert ensure_vector_index(database, "texts").approximate
    report = embed_collection(database, "texts", embed, model_version=version, dimension=embed.width)
    assert report.stored == 600, "vectors of another width and their index make room"
    assert ensure_vector_index(database, "texts").approximate
    make_dump(database, tmp_path / "dump", "text_graph", data_set="texts 1")
    restored = connect(local_store, database="wide_texts_again")
    restore_dump(restored, tmp_path / "dump")
    row = restored.collection("texts").get("7")
    assert len(row["embedding"]) == 768
    assert row_cosines(embed(["text number 7"])[0], np.array(row["embedding"])) >= LEAST_COSINES["fp32"]


def test_other_pooling_of_the_same_weights_is_another_model(settings, folders, tmp_path):
    """Vectors of one must not pass as vectors of the other in the store."""
    other = shutil.copytree(folders["cls"], tmp_path / "mean")
    edit(other / "1_Pooling/config.json", pooling_mode_cls_token=False, pooling_mode_mean_tokens=True)
    versions = set()
    for folder in (folders["cls"], other):
        changes = {"sentence_model": str(folder), "model_repository": tmp_path / "repository"}
        versions.add(prepare_sentence_bert(settings.model_copy(update=changes)).version_name)
    assert len(versions) == 2


@pytest.mark.parametrize("name", ["cls", "not_normalised", "sentencepiece_bert"])
def test_the_model_in_steps_pools_as_the_model_in_one_piece(settings, folders, tmp_path, name):
    own = settings.model_copy(update={"sentence_model": str(folders[name]), "model_repository": tmp_path})
    prepare_sentence_steps(own)
    source = sentence_source(own)
    encoder, pooling = (
        load_traced(version_folder(tmp_path, step, 1) / "model.pt") for step in ("sentence_encoder", "sentence_pooling")
    )
    ids, mask = sentence_inputs(source.tokenizer(), TEXTS)
    with torch.no_grad():
        expected = load_sentence_bert(source, "fp32")(ids, mask)
        np.testing.assert_allclose(pooling(encoder(ids, mask), mask).numpy(), expected.numpy(), atol=1e-5)


def test_an_entailment_model_shares_its_positions_between_text_and_hypothesis(client, settings, tmp_path):
    folder = tiny_text_models.save_entailment_model(tmp_path / "mnli", max_positions=64)
    own = settings.model_copy(update={"entailment_model": str(folder)})
    prepare_zero_shot(own)
    client.load_model("zero_shot_text")
    labels = ["sport", "bread " * 80]
    answers = ZeroShotClassifier(client)(TEXTS, labels)
    source = zero_shot_source(own)
    assert served_tokenizer(client, "zero_shot").max_tokens == source.encoding.max_tokens == 32
    model = load_zero_shot(source, "fp32", entailment=True)
    with torch.no_grad():
        scores, _ = model(*zero_shot_inputs(source.tokenizer(), TEXTS, labels))
    served = np.array([[dict(zip(a.labels, a.scores, strict=True))[label] for label in labels] for a in answers])
    np.testing.assert_allclose(served, scores.numpy(), atol=1e-5)


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def without_tokenizer(folder):
    (folder / "tokenizer.json").unlink()


def max_pooling(folder):
    edit(folder / "1_Pooling/config.json", pooling_mode_mean_tokens=False, pooling_mode_max_tokens=True)


def further_layer(folder):
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))


def lower_cased_outside(folder):
    edit(folder / "sentence_bert_config.json", do_lower_case=True)


def foreign_tokenizer(folder):
    edit(folder / "config.json", vocab_size=3)


def broken_tokenizer(folder):
    (folder / "tokenizer.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_tokenizer, r"WORKSHOP_SENTENCE_MODEL=.*tokenizer\.json is missing\nTry: write it with AutoTokenizer"),
        (max_pooling, r"pooling by \['pooling_mode_max_tokens'\], expected one of \['cls', 'mean'\]"),
        (further_layer, r"modules\.json: expected Transformer, Pooling and perhaps Normalize, found .*'Dense'"),
        (lower_cased_outside, "lower-cases texts before a tokenizer that keeps the case"),
        (foreign_tokenizer, r"the tokenizer knows \d+ tokens, the model 3"),
        (broken_tokenizer, "is not readable"),
    ],
)
def test_a_folder_that_cannot_be_followed_is_refused_before_anything_is_written(
    settings, folders, tmp_path, damage, message
):
    folder = shutil.copytree(folders["cased"], tmp_path / "model")
    damage(folder)
    repository = tmp_path / "repository"
    own = settings.model_copy(update={"sentence_model": str(folder), "model_repository": repository})
    with pytest.raises(ModelSourceError, match=message):
        prepare_sentence_bert(own)
    assert not repository.exists()
    with pytest.raises(ModelSourceError, match=message):
        sentence_source(own)
