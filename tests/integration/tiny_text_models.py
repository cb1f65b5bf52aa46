"""Tiny sentence models with random weights, saved in Hub format: one for each way in which such models differ."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

PHRASES = [
    "A heist goes wrong in Winter",
    "two friends learn to bake bread",
    "the moons of Jupiter",
    "café in Zürich",
]
CORPUS = PHRASES * 4
BERTS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
ROBERTAS = ["<s>", "<pad>", "</s>", "<unk>"]
MPNETS = ["<s>", "<pad>", "</s>", "[UNK]"]


@dataclass(frozen=True)
class Kind:
    """One kind of sentence model."""

    architecture: str = "bert"
    width: int = 32
    pooling: str = "mean"
    normalised: bool = True
    max_tokens: int = 40
    cased: bool = False
    tokenizer: str = "wordpiece"
    prompt: str = ""


KINDS = {
    "wide": Kind(width=768, max_tokens=128),
    "cls": Kind(pooling="cls"),
    "odd_length": Kind(max_tokens=37),
    "cased": Kind(cased=True),
    "sentencepiece": Kind(architecture="xlm-roberta", tokenizer="unigram", cased=True),
    "sentencepiece_bert": Kind(tokenizer="unigram", width=48, pooling="cls", normalised=False),
    "not_normalised": Kind(normalised=False),
    "prompted": Kind(prompt="query: "),
    "distilbert": Kind(architecture="distilbert"),
    "short": Kind(max_tokens=20),
    "byte_level": Kind(architecture="roberta", tokenizer="byte_level", cased=True),
    "mpnet": Kind(architecture="mpnet", tokenizer="wordpiece_of_mpnet"),
}


def wordpiece(cased: bool, special: Sequence[str] = BERTS, first: str = "[CLS]", last: str = "[SEP]") -> Tokenizer:
    """A trained WordPiece tokenizer, with a maximal length and padding of its own that must not count.

    Args:
        cased: keep capital letters.
        special: tokens that stand for something, by id.
        first: goes before each text.
        last: goes after it.
    """
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=not cased)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=list(special), show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.BertProcessing((last, special.index(last)), (first, special.index(first)))
    tokenizer.enable_padding(length=128, pad_id=tokenizer.token_to_id(padding_token(tokenizer)))
    tokenizer.enable_truncation(128)
    return tokenizer


def unigram(cased: bool) -> Tokenizer:
    """A trained SentencePiece (Unigram) tokenizer with XLM-RoBERTa's special tokens, padding id 1."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = (
        normalizers.NFKC() if cased else normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=ROBERTAS, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


def byte_level(cased: bool) -> Tokenizer:
    """A trained byte-level BPE tokenizer, as RoBERTa has: every text has tokens, whatever its letters; padding id 1."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = None if cased else normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=ROBERTAS, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer


TOKENIZERS: dict[str, Callable[[bool], Tokenizer]] = {
    "wordpiece": wordpiece,
    "unigram": unigram,
    "byte_level": byte_level,
    "wordpiece_of_mpnet": lambda cased: wordpiece(cased, MPNETS, "<s>", "</s>"),
}


def encoder(kind: Kind, tokenizer: Tokenizer) -> PreTrainedModel:
    """An encoder of two layers with random weights; its table of positions is just long enough."""
    torch.manual_seed(0)
    sizes = {"vocab_size": tokenizer.get_vocab_size(), "max_position_embeddings": kind.max_tokens}
    if kind.architecture == "distilbert":
        return DistilBertModel(DistilBertConfig(**sizes, dim=kind.width, n_heads=4, n_layers=2, hidden_dim=64))
    sizes |= {"hidden_size": kind.width, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    padding = tokenizer.token_to_id(padding_token(tokenizer))
    if kind.architecture == "bert":
        return BertModel(BertConfig(**sizes, pad_token_id=padding))
    sizes["max_position_embeddings"] += padding + 1
    if kind.architecture == "mpnet":
        return MPNetModel(MPNetConfig(**sizes, pad_token_id=padding))
    configuration, model = {
        "roberta": (RobertaConfig, RobertaModel),
        "xlm-roberta": (XLMRobertaConfig, XLMRobertaModel),
    }[kind.architecture]
    return model(configuration(**sizes, pad_token_id=padding, type_vocab_size=1))


def padding_token(tokenizer: Tokenizer) -> str:
    """The token that fills rows up."""
    return "[PAD]" if tokenizer.token_to_id("[PAD]") is not None else "<pad>"


def save_tokenizer(tokenizer: Tokenizer, folder: Path, kind: Kind) -> None:
    """Write ``tokenizer.json`` and its settings."""
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"pad_token": padding_token(tokenizer)}
    if tokenizer.token_to_id("<unk>") is not None:
        names["unk_token"] = "<unk>"
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": kind.max_tokens, **names},
    )


def save_sentence_model(folder: Path, kind: Kind) -> Path:
    """Save a sentence model as sentence-transformers does; returns the folder."""
    tokenizer = TOKENIZERS[kind.tokenizer](kind.cased)
    encoder(kind, tokenizer).save_pretrained(folder)
    save_tokenizer(tokenizer, folder, kind)
    steps = ["Transformer", "Pooling", *(["Normalize"] if kind.normalised else [])]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": index, "name": str(index), "path": paths[index], "type": f"sentence_transformers.models.{step}"}
        for index, step in enumerate(steps)
    ]
    write_json(folder / "modules.json", modules)
    pooling = {f"pooling_mode_{name}_token{plural}": False for name, plural in (("max", "s"), ("mean_sqrt_len", "s"))}
    pooling |= {"pooling_mode_cls_token": kind.pooling == "cls", "pooling_mode_mean_tokens": kind.pooling == "mean"}
    write_json(folder / "1_Pooling/config.json", {"word_embedding_dimension": kind.width, **pooling})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": kind.max_tokens, "do_lower_case": False})
    prompts = {"prompts": {"query": kind.prompt}, "default_prompt_name": "query"} if kind.prompt else {}
    write_json(folder / "config_sentence_transformers.json", prompts)
    return folder


def save_entailment_model(folder: Path, max_positions: int) -> Path:
    """Save a BERT classifier with MNLI's labels; returns the folder."""
    kind, tokenizer = Kind(max_tokens=max_positions), wordpiece(cased=False)
    torch.manual_seed(0)
    labels = {0: "CONTRADICTION", 1: "NEUTRAL", 2: "ENTAILMENT"}
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        max_position_embeddings=max_positions,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        id2label=labels,
        label2id={name: index for index, name in labels.items()},
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    save_tokenizer(tokenizer, folder, kind)
    return folder


def write_json(path: Path, content: object) -> None:
    """Write a JSON file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
