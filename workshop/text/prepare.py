"""Make the text models ready to serve: trace them unless the repository already holds the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from workshop.errors import RepositoryError
from workshop.export.gates import Inputs, reuse
from workshop.export.torchscript import trace_and_save
from workshop.settings import Settings
from workshop.text import ensembles, sentence_bert, zero_shot
from workshop.text.encoding import TOKENIZER_FILE
from workshop.text.hub_folder import classifier_encoding
from workshop.text.signatures import HYPOTHESIS_TEMPLATE, sentence_bert_signature, zero_shot_signature
from workshop.text.sources import TextModelSource, resolve_precision, text_model_source
from workshop.text.tokenization import TextTokenizer
from workshop.triton.artefact import MODEL_FILES, Sidecar, version_folder
from workshop.triton.signature import ModelSignature

# the trace example has unequal lengths, so that masking is part of the graph
EXAMPLE_TEXTS = ("a heist that goes wrong in winter", "two friends")
# unlike the example in number of rows and in length
PARITY_TEXTS = {
    "one word": ("hello",),
    "empty and long": ("", "word " * 400),
    "seven rows": tuple(f"film number {n}, " + "and then " * n for n in range(7)),
    "sixteen equal rows": ("the same text",) * 16,
}
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


def prepare_zero_shot(settings: Settings, *, force: bool = False) -> Sidecar:
    """Trace ``zero_shot`` and place it, its tokenizer and its ensemble in the model repository.

    Arguments and errors are those of :func:`prepare_sentence_bert`.
    """
    source = zero_shot_source(settings)
    tokenizer = source.tokenizer()
    signature = zero_shot_signature(source.encoding)
    precision = resolve_precision(settings.precision)
    entailment = bool(settings.entailment_model)
    choices = {"method": "entailment"} if entailment else {"method": "latent", "scale": str(zero_shot.SIMILARITY_SCALE)}
    sidecar = (
        None
        if force
        else reuse(
            signature, settings.model_repository, source_sha256=source.sha256, precision=precision, settings=choices
        )
    )
    replaced = sidecar is None and _is_traced(signature, settings)
    if sidecar is None:
        sidecar = trace_and_save(
            zero_shot.load_zero_shot(source, precision, entailment=entailment),
            signature,
            zero_shot_inputs(tokenizer, EXAMPLE_TEXTS, EXAMPLE_LABELS),
            {
                label: zero_shot_inputs(tokenizer, texts, [f"topic {n}" for n in range(PARITY_LABELS[label])])
                for label, texts in PARITY_TEXTS.items()
            },
            settings.model_repository,
            source=source.name,
            source_sha256=source.sha256,
            precision=precision,
            settings=choices,
            replace=True,
            files={TOKENIZER_FILE: source.tokenizer_file},
        )
    ensembles.place_tokenizer(
        ensembles.zero_shot_tokenizer(signature),
        ensembles.zero_shot_text(signature),
        source.tokenizer_file,
        settings.model_repository,
        replaced=replaced,
    )
    return sidecar


def _placed_sentence_model(
    settings: Settings, source: TextModelSource, signature: ModelSignature, *, force: bool
) -> tuple[Sidecar, bool]:
    """Trace a sentence model and place it with its tokenizer, unless it is there; and whether it was traced now."""
    precision = resolve_precision(settings.precision)
    current = {"source_sha256": source.sha256, "precision": precision}
    if not force and (sidecar := reuse(signature, settings.model_repository, **current)):
        return sidecar, False
    tokenizer = source.tokenizer()
    sidecar = trace_and_save(
        sentence_bert.load_sentence_bert(source, precision),
        signature,
        sentence_inputs(tokenizer, EXAMPLE_TEXTS),
        sentence_parity_inputs(tokenizer),
        settings.model_repository,
        source=source.name,
        replace=True,
        files={TOKENIZER_FILE: source.tokenizer_file},
        **current,
    )
    return sidecar, True


def _is_traced(signature: ModelSignature, settings: Settings) -> bool:
    folder = version_folder(settings.model_repository, signature.name, 1)
    return (folder / MODEL_FILES[signature.platform]).is_file()
