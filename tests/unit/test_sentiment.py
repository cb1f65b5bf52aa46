"""The sentiment classifier: training that resumes, weights on disk, framing of tokens, and its judges."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workshop.data.sentiment import Reviews, load_movie_snippets
from workshop.errors import CheckpointError, DataInvalidError
from workshop.evaluate.sentiment import calibration, judge, vader_scores
from workshop.settings import load_settings
from workshop.text.sentiment.checkpoint import load_published, load_sentiment, save_sentiment
from workshop.text.sentiment.model import new_classifier
from workshop.text.sentiment.training import SentimentTraining, fine_tune, predict
from workshop.text.sentiment.wordpiece import CudfEngine, HuggingFaceEngine, frame, load_engine, marker_ids
from workshop.text.sources import minilm_source

SOURCE = minilm_source()
TOKENIZER = str(SOURCE.tokenizer_file)
FEW = SentimentTraining(batch_size=4, max_tokens=16, save_seconds=0)
REVIEWS = Reviews(
    [f"{word} film number {n}" for n in range(6) for word in ("good", "bad")],
    np.array([1.0, -1.0] * 6),
    np.arange(12),
)


class StoppedError(Exception):
    """What the interrupted training is stopped with."""


@pytest.fixture(scope="module")
def trained():
    return fine_tune(SOURCE, REVIEWS, FEW)


def test_an_interrupted_training_ends_with_the_same_weights(trained, tmp_path):
    def stop(progress):
        if progress.step == 2:
            raise StoppedError

    state = tmp_path / "state.pt"
    with pytest.raises(StoppedError):
        fine_tune(SOURCE, REVIEWS, FEW, state_path=state, on_step=stop)
    steps = []
    resumed = fine_tune(SOURCE, REVIEWS, FEW, state_path=state, on_step=lambda progress: steps.append(progress.step))
    assert steps[0] in (2, 3)
    assert steps[-1] == 3
    assert not state.exists()
    assert np.allclose(predict(resumed, SOURCE, REVIEWS.texts), predict(trained, SOURCE, REVIEWS.texts), atol=1e-5)


def test_a_state_of_another_training_is_refused(tmp_path):
    def stop(progress):
        if progress.step == 2:
            raise StoppedError

    state = tmp_path / "state.pt"
    with pytest.raises(StoppedError):
        fine_tune(SOURCE, REVIEWS, FEW, state_path=state, on_step=stop)
    with pytest.raises(CheckpointError, match="state of another training; seed differ"):
        fine_tune(SOURCE, REVIEWS, replace(FEW, seed=1), state_path=state)
    state.write_bytes(b"no state")
    with pytest.raises(CheckpointError, match="not a training state"):
        fine_tune(SOURCE, REVIEWS, FEW, state_path=state)


def test_reviews_of_one_sign_cannot_train():
    with pytest.raises(DataInvalidError, match="expected positive and negative"):
        fine_tune(SOURCE, REVIEWS.take(REVIEWS.labels), FEW)


def test_only_the_upper_layers_and_the_head_are_trained(trained):
    before, after = new_classifier(SOURCE, FEW.seed).state_dict(), trained.state_dict()
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert not any("embeddings" in name or "layer.0." in name for name in changed)
    assert any("layer.1." in name for name in changed)
    assert "head.weight" in changed


def test_weights_on_disk_give_the_same_answers_in_a_tenth_of_the_size(trained, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_sentiment(path, trained, SOURCE, {"data": "twelve"})
    restored, about = load_sentiment(path, SOURCE)
    assert about["data"] == "twelve"
    assert path.stat().st_size < 10e6
    assert np.allclose(predict(restored, SOURCE, REVIEWS.texts), predict(trained, SOURCE, REVIEWS.texts), atol=2e-3)
    with pytest.raises(CheckpointError, match="differences from an encoder"):
        load_sentiment(path, replace(SOURCE, sha256="other"))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged"):
        load_sentiment(path, SOURCE)


def test_the_published_weights_tell_praise_from_blame():
    model, about = load_published(load_settings(), SOURCE)
    assert about["base_sha256"] == SOURCE.sha256
    low, high = predict(model, SOURCE, ["A tedious, clumsy mess.", "A moving and beautifully acted film."])
    assert low < 0.1 < 0.9 < high


def test_altered_published_weights_are_refused(tmp_path):
    settings = load_settings(checkpoint_dir=tmp_path)
    with pytest.raises(CheckpointError, match="no such file"):
        load_published(settings, SOURCE)
    (tmp_path / "sentiment").mkdir()
    (tmp_path / "sentiment/sentiment_minilm.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="manifest"):
        load_published(settings, SOURCE)


# --- tokens -----------------------------------------------------------------------------------------------------
@given(st.lists(st.lists(st.integers(1000, 30_000), max_size=300), min_size=1, max_size=5))
def test_rows_hold_the_ids_between_markers_and_say_what_was_cut(token_ids):
    ids, mask, metadata = frame(token_ids, (101, 102))
    assert ids.shape == mask.shape == (len(token_ids), 256)
    for row, given_ids in enumerate(token_ids):
        kept = given_ids[:254]
        assert ids[row][mask[row] == 1].tolist() == [101, *kept, 102]
        assert not ids[row][mask[row] == 0].any()
        assert metadata[row].tolist() == [row, len(kept), len(given_ids)]


def test_unknown_engines_are_refused():
    with pytest.raises(ValueError, match="expected one of auto, huggingface, cudf"):
        load_engine("spacy", TOKENIZER, on_gpu=False)
    assert isinstance(load_engine("auto", TOKENIZER, on_gpu=False), HuggingFaceEngine)
    assert marker_ids(TOKENIZER) == (101, 102)


@pytest.mark.skipif(importlib.util.find_spec("cudf") is None, reason="cuDF is installed on machines with a GPU only")
def test_rapids_gives_the_ids_of_hugging_face():
    texts = [
        *load_movie_snippets(load_settings(), "tiny").texts,
        "",
        "Café, naïve",
        "電影 is great!",
        "don't... stop--now",
    ]
    pairs = zip(texts, HuggingFaceEngine(TOKENIZER)(texts), CudfEngine(TOKENIZER)(texts), strict=True)
    differing = [(text, reference, ids) for text, reference, ids in pairs if reference != ids]
    assert not differing, f"{len(differing)} of {len(texts)} differ: {differing[:5]}"


# --- judges -----------------------------------------------------------------------------------------------------
def test_judges_count_signs_and_leave_out_the_undecided():
    test = Reviews(["a", "b", "c", "d", "e"], np.array([2.0, -1.0, 1.0, -3.0, 0.0]), np.arange(5))
    scores = {"right": np.array([0.9, 0.2, 0.8, 0.1, 0.5]), "half": np.array([0.9, 0.8, 0.2, 0.1, 0.5])}
    verdicts = judge(test, scores, dict.fromkeys(scores, 0.5))
    assert verdicts["right"].accuracy.mean == 1
    assert verdicts["half"].accuracy.mean == 0.5
    assert verdicts["right"].ahead_of["half"].mean == 0.5
    assert verdicts["right"].rank_correlation == pytest.approx(1.0)
    with pytest.raises(DataInvalidError, match="expected 5 finite scores, received 4"):
        judge(test, {"short": np.ones(4)}, {"short": 0.5})


def test_calibration_of_a_sure_and_wrong_classifier():
    found = calibration(np.array([1.0, 1.0, 0.0, 0.0]), np.array([True, False, False, False]))
    assert found.predicted.tolist() == [0.0, 1.0]
    assert found.observed.tolist() == [0.0, 0.5]
    assert found.error == pytest.approx(0.25)


def test_vader_knows_its_lexicon():
    low, high = vader_scores(["a horrible film", "a great film"])
    assert low < 0 < high
