"""Make the text models ready to serve: trace them unless the repository already holds the same ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from workshop.errors import PrecisionLossError, RepositoryError
from workshop.export.gates import Inputs, Progress, Whole, reuse
from workshop.export.torchscript import trace_and_save
from workshop.settings import Settings
from workshop.text import ensembles, sentence_bert, zero_shot
from workshop.text.encoding import TOKENIZER_FILE
from workshop.text.hub_folder import classifier_encoding
from workshop.text.signatures import HYPOTHESIS_TEMPLATE, sentence_bert_signature, zero_shot_signature
from workshop.text.sources import TextModelSource, served_precision, text_model_source
from workshop.text.tokenization import TextTokenizer
from workshop.triton.artefact import MODEL_FILES, REFUSED, Sidecar, version_folder
from workshop.triton.signature import ModelSignature

LOGGER = logging.getLogger(__name__)
# the trace example has unequal lengths, so that masking is part of the graph
EXAMPLE_TEXTS = ("a heist that goes wrong in winter", "two friends")
# unlike the example in number of rows and in length
PARITY_TEXTS = {
    "one word": ("hello",),
    "empty and long": ("", "word " * 400),
    "seven rows": tuple(f"film number {n}, " + "and then " * n for n in range(7)),
    "sixteen equal rows": ("the same text",) * 16,
}
# rounding may move a score or a probability by so much; rows of small probabilities have no direction to keep
SCORES_MAY_MOVE = {"tolerance": 0.05, "least_cosine": -1.0}
EXAMPLE_LABELS = ("sport", "the arts", "world politics")
PARITY_LABELS = {
    "one word": 1,
    "empty and long": 2,
    "seven rows": 7,
    "sixteen equal rows": 20,
}


def sentence_source(settings: Settings) -> TextModelSource:
    """The sentence model that the settings name.

    Raises:
        ModelSourceError: it is not to be had.
    """
    return text_model_source(settings.sentence_model, "WORKSHOP_SENTENCE_MODEL")


def zero_shot_source(settings: Settings) -> TextModelSource:
    """The model behind ``zero_shot``: the entailment model when the settings name one, else the sentence model.

    Raises:
        ModelSourceError: it is not to be had.
    """
    if settings.entailment_model:
        source = text_model_source(settings.entailment_model, "WORKSHOP_ENTAILMENT_MODEL")
        return replace(source, encoding=classifier_encoding(source.encoding, source.folder))
    return sentence_source(settings)


def sentence_inputs(tokenizer: TextTokenizer, texts: Sequence[str]) -> Inputs:
    """Inputs of ``sentence_bert``: two int64 tensors ``[texts, longest]``."""
    ids, mask = tokenizer(texts)
    return torch.from_numpy(ids), torch.from_numpy(mask)


def sentence_parity_inputs(tokenizer: TextTokenizer) -> dict[str, Inputs]:
    """Inputs of ``sentence_bert`` by which its exports are judged, unlike those they are made with."""
    return {label: sentence_inputs(tokenizer, texts) for label, texts in PARITY_TEXTS.items()}


def zero_shot_inputs(
    tokenizer: TextTokenizer,
    texts: Sequence[str],
    labels: Sequence[str],
    template: str = HYPOTHESIS_TEMPLATE,
) -> Inputs:
    """Inputs of ``zero_shot``: ids and mask of texts ``[texts, longest]``, of labels ``[texts, labels, longest]``."""
    hypotheses = sentence_inputs(tokenizer, [template.replace("{}", label) for label in labels])
    repeated = tuple(part.unsqueeze(0).expand(len(texts), -1, -1).contiguous() for part in hypotheses)
    return (*sentence_inputs(tokenizer, texts), *repeated)


def prepare_sentence_bert(settings: Settings, *, force: bool = False) -> Sidecar:
    """Trace ``sentence_bert`` and place it, its tokenizer and its ensemble in the model repository.

    Where the precision is ``auto`` and rounding costs the model too much, it is placed in float32.

    Args:
        settings: source, precision and repository.
        force: trace again although the repository holds the same model.

    Raises:
        ModelSourceError: the weights are not to be had.
        TraceRefusedError: the trace fails a gate; the repository keeps what it had.
    """
    source = sentence_source(settings)
    signature = sentence_bert_signature(source.encoding)
    was_traced = _is_traced(signature, settings)
    sidecar, traced = _placed_sentence_model(settings, source, signature, force=force)
    ensembles.place_tokenizer(
        ensembles.text_tokenizer(signature),
        ensembles.text_embedding(signature),
        source.tokenizer_file,
        settings.model_repository,
        replaced=traced and was_traced,
    )
    return sidecar


def prepare_own_sentence_bert(settings: Settings, name: str, *, force: bool = False) -> Sidecar:
    """Trace the sentence model of the settings under a name of its own, and leave the workshop's one as it is.

    It is loaded by name, ``client.load_model(name)``; a server that starts leaves it out. Texts go to it through
    :class:`workshop.text.embedder.TextEmbedder`; it has no ensemble.

    Args:
        settings: source, precision and repository.
        name: of the served model.
        force: trace again although the repository holds the same model.

    Raises:
        ModelSourceError: the weights are not to be had.
        RepositoryError: ``name`` is that of the workshop's own.
        TraceRefusedError: the trace fails a gate; the repository keeps what it had.
    """
    source = sentence_source(settings)
    shared = sentence_bert_signature(source.encoding)
    if name == shared.name:
        raise RepositoryError(f"{name!r} is the workshop's own sentence model", hint="a name of your own")
    return _placed_sentence_model(settings, source, replace(shared, name=name, on_request=True), force=force)[0]


def prepare_zero_shot(
    settings: Settings, *, force: bool = False, progress: Progress = lambda done, wanted: None
) -> Sidecar:
    """Trace ``zero_shot`` and place it, its tokenizer and its ensemble in the model repository.

    Arguments and errors are those of :func:`prepare_sentence_bert`; ``progress`` is of the trace's comparison with the
    original.
    """
    source = zero_shot_source(settings)
    tokenizer = source.tokenizer()
    signature = zero_shot_signature(source.encoding)
    entailment = bool(settings.entailment_model)
    choices = {"method": "entailment"} if entailment else {"method": "latent", "scale": str(zero_shot.SIMILARITY_SCALE)}
    was_traced = _is_traced(signature, settings)

    def load(precision: str) -> nn.Module:
        return zero_shot.load_zero_shot(source, precision, entailment=entailment)

    def trace(precision: str, refused: dict[str, str]) -> Sidecar:
        parity = {
            label: zero_shot_inputs(tokenizer, texts, [f"topic {n}" for n in range(PARITY_LABELS[label])])
            for label, texts in PARITY_TEXTS.items()
        }
        whole = whole_outputs(load, parity, precision, **SCORES_MAY_MOVE)
        return trace_and_save(
            load(precision),
            signature,
            zero_shot_inputs(tokenizer, EXAMPLE_TEXTS, EXAMPLE_LABELS),
            parity,
            settings.model_repository,
            source=source.name,
            source_sha256=source.sha256,
            precision=precision,
            settings={**choices, **refused},
            replace=True,
            files={TOKENIZER_FILE: source.tokenizer_file},
            progress=progress,
            whole=whole,
        )

    sidecar, traced = at_served_precision(settings, source, signature, trace, choices, force=force)
    ensembles.place_tokenizer(
        ensembles.zero_shot_tokenizer(signature),
        ensembles.zero_shot_text(signature),
        source.tokenizer_file,
        settings.model_repository,
        replaced=traced and was_traced,
    )
    return sidecar


def at_served_precision(
    settings: Settings,
    source: TextModelSource,
    signature: ModelSignature,
    trace: Callable[[str, dict[str, str]], Sidecar],
    choices: dict[str, str],
    *,
    force: bool,
) -> tuple[Sidecar, bool]:
    """Trace a model at the precision of the settings, unless the repository holds the same one.

    Args:
        settings: precision and repository. Where ``auto`` chose a lower one than the model bears, it becomes float32.
        source: of the weights.
        signature: of the served model.
        trace: takes a precision and further choices that its sidecar is to name, and places the model.
        choices: those of the sidecar in any case.
        force: trace although the repository holds the same one.

    Returns:
        The model's sidecar, and whether it was traced now.

    Raises:
        PrecisionLossError: the model does not bear the precision that the settings ask for.
    """
    precision = served_precision(settings)
    ways: list[tuple[str, dict[str, str]]] = [(precision, {})]
    if settings.precision == "auto" and precision != "fp32":
        ways.append(("fp32", {REFUSED: precision}))
    for each, refused in () if force else ways:
        current = {"source_sha256": source.sha256, "precision": each, "settings": {**choices, **refused}}
        if sidecar := reuse(signature, settings.model_repository, **current):
            return sidecar, False
    try:
        return trace(*ways[0]), True
    except PrecisionLossError as error:
        if len(ways) == 1:
            raise
        LOGGER.warning("%s; the precision is auto, so it becomes float32", str(error).splitlines()[0])
        return trace(*ways[1]), True


def whole_outputs(
    load: Callable[[str], nn.Module], inputs: dict[str, Inputs], precision: str, **options: object
) -> Whole | None:
    """What the model that ``load`` gives says in float32, by which it is judged at ``precision``; ``None`` at float32.

    The float32 weights are gone again before those of ``precision`` are loaded.
    """
    return None if precision == "fp32" else Whole.of(load("fp32"), inputs, **options)


def _placed_sentence_model(
    settings: Settings, source: TextModelSource, signature: ModelSignature, *, force: bool
) -> tuple[Sidecar, bool]:
    """Trace a sentence model and place it with its tokenizer, unless it is there; and whether it was traced now."""

    def trace(precision: str, refused: dict[str, str]) -> Sidecar:
        tokenizer = source.tokenizer()
        parity = sentence_parity_inputs(tokenizer)
        whole = whole_outputs(partial(sentence_bert.load_sentence_bert, source), parity, precision)
        return trace_and_save(
            sentence_bert.load_sentence_bert(source, precision),
            signature,
            sentence_inputs(tokenizer, EXAMPLE_TEXTS),
            parity,
            settings.model_repository,
            source=source.name,
            source_sha256=source.sha256,
            precision=precision,
            settings=refused,
            replace=True,
            files={TOKENIZER_FILE: source.tokenizer_file},
            whole=whole,
        )

    return at_served_precision(settings, source, signature, trace, {}, force=force)


def _is_traced(signature: ModelSignature, settings: Settings) -> bool:
    folder = version_folder(settings.model_repository, signature.name, 1)
    return (folder / MODEL_FILES[signature.platform]).is_file()
