"""Make the sentiment models, and the sentence model in steps, ready to serve."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from workshop.export.gates import Inputs, Outputs, reuse
from workshop.export.onnx import export_and_save, export_traced
from workshop.export.torchscript import trace_and_save
from workshop.files import replacing, sha256_of, write_text
from workshop.settings import PROJECT_ROOT, Settings
from workshop.text.encoding import TOKENIZER_FILE
from workshop.text.prepare import (
    EXAMPLE_TEXTS,
    PARITY_TEXTS,
    at_served_precision,
    sentence_inputs,
    sentence_parity_inputs,
    sentence_source,
    whole_outputs,
)
from workshop.text.sentence_bert import load_sentence_bert, token_vectors
from workshop.text.sentiment import wordpiece
from workshop.text.sentiment.checkpoint import load_published, load_sentiment, published_path
from workshop.text.sentiment.signatures import (
    END_TO_END_ONNX,
    END_TO_END_PYTORCH,
    RAPIDS_TOKENIZER,
    SENTIMENT_CLASSIFIER,
    SENTIMENT_ONNX,
    SENTIMENT_POSTPROCESSING,
    SENTIMENT_PYTORCH,
    WORDPIECE_FILE,
    sentence_steps,
)
from workshop.text.signatures import sentence_bert_signature
from workshop.text.sources import TextModelSource, minilm_source
from workshop.triton.artefact import Sidecar, version_folder
from workshop.triton.signature import ModelSignature, write_config


def review_inputs(engine: wordpiece.Engine, markers: tuple[int, int], texts: tuple[str, ...]) -> Inputs:
    """Inputs of the classifier, as the served tokenizer makes them: two int64 tensors ``[texts, 256]``."""
    ids, mask, _ = wordpiece.frame(engine(texts), markers)
    return torch.from_numpy(ids), torch.from_numpy(mask)


def prepare_sentiment(settings: Settings, *, weights: Path | None = None, force: bool = False) -> dict[str, Sidecar]:
    """Place both forms of the classifier, the tokenizer, the post-processing and the ensembles in the model repository.

    Args:
        settings: folders of weights and models.
        weights: own weights that ``scripts/train_sentiment.py`` wrote; the project's when not given.
        force: export again although the repository holds the same models.

    Returns:
        The sidecar of each form, by model name.

    Raises:
        CheckpointError: the weights are missing, altered, or made from another encoder.
        TraceRefusedError: an export fails a gate; the repository keeps what it had of that form.
    """
    source = minilm_source()
    path = weights or published_path(settings)
    model, _ = load_sentiment(path, source) if weights else load_published(settings, source)
    tokenizer_json = str(source.tokenizer_file)
    engine, markers = wordpiece.HuggingFaceEngine(tokenizer_json), wordpiece.marker_ids(tokenizer_json)
    sidecars = {}
    for signature, export in (
        (SENTIMENT_PYTORCH, trace_and_save),
        (SENTIMENT_ONNX, partial(export_and_save, exporter=export_traced)),
    ):
        sidecars[signature.name] = _placed(
            signature,
            model,
            review_inputs(engine, markers, EXAMPLE_TEXTS),
            {label: review_inputs(engine, markers, texts) for label, texts in PARITY_TEXTS.items()},
            settings.model_repository,
            export,
            source=f"{source.name}, fine-tuned: {path.name}",
            source_sha256=sha256_of(path),
            force=force,
        )
    _place_tokenizer(source.tokenizer_file, settings.model_repository)
    write_config(SENTIMENT_POSTPROCESSING, settings.model_repository)
    for signature in (RAPIDS_TOKENIZER, SENTIMENT_POSTPROCESSING):
        _place_code(signature, settings.model_repository)
    for ensemble in (END_TO_END_PYTORCH, END_TO_END_ONNX, SENTIMENT_CLASSIFIER):
        _place_ensemble(ensemble, settings.model_repository)
    return sidecars


class SentenceEncoder(nn.Module):
    """The first of the two steps of sentence BERT: a vector for each token."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """int64 ``[batch, length]`` twice to float32 ``[batch, length, hidden]``."""
        return token_vectors(self.encoder, input_ids, attention_mask).to(torch.float32)


def sentence_encoder(source: TextModelSource, precision: str) -> SentenceEncoder:
    """The first step with the weights of a sentence model, ready to be exported."""
    return SentenceEncoder(load_sentence_bert(source, precision).encoder).eval()


def prepare_sentence_steps(settings: Settings, *, force: bool = False) -> dict[str, Sidecar]:
    """Place sentence BERT as two models, encoder and pooling, and the ensemble that chains them behind the tokenizer.

    The tokenizer is that of :func:`workshop.text.prepare.prepare_sentence_bert`, and so are weights and precision.

    Raises:
        ModelSourceError: the weights are not to be had.
        TraceRefusedError: a trace fails a gate.
    """
    source = sentence_source(settings)
    tokenizer = source.tokenizer()
    model = load_sentence_bert(source, "fp32")
    first, second, ensemble = sentence_steps(sentence_bert_signature(source.encoding))
    example = sentence_inputs(tokenizer, EXAMPLE_TEXTS)
    parity = sentence_parity_inputs(tokenizer)

    def hidden(inputs: Inputs) -> Inputs:
        with torch.no_grad():
            return token_vectors(model.encoder, *inputs), inputs[1]

    def pooled(inputs: Inputs, outputs: Outputs) -> Outputs:
        """What counts of the encoder's outputs; its vectors of padding may be anything."""
        return (model.pool(outputs[0], inputs[1]),)

    def trace_encoder(precision: str, refused: dict[str, str]) -> Sidecar:
        return trace_and_save(
            sentence_encoder(source, precision),
            first,
            example,
            parity,
            repository,
            precision=precision,
            settings=refused,
            whole=whole_outputs(lambda _: model, parity, precision, compared=pooled),
            replace=True,
            **common,
        )

    common = {"source": source.name, "source_sha256": source.sha256}
    repository = settings.model_repository
    sidecars = {
        first.name: at_served_precision(settings, source, first, trace_encoder, {}, force=force)[0],
        second.name: _placed(
            second,
            model.pool,
            hidden(example),
            {label: hidden(inputs) for label, inputs in parity.items()},
            repository,
            trace_and_save,
            force=force,
            **common,
        ),
    }
    _place_ensemble(ensemble, repository)
    return sidecars


def _placed(
    signature: ModelSignature,
    model: nn.Module,
    example: Inputs,
    parity_inputs: dict[str, Inputs],
    repository: Path,
    export: Callable[..., Sidecar],
    *,
    source: str,
    source_sha256: str,
    force: bool,
) -> Sidecar:
    """Export a model in float32 unless the repository holds the same one."""
    placed = None if force else reuse(signature, repository, source_sha256=source_sha256, precision="fp32")
    return placed or export(
        model,
        signature,
        example,
        parity_inputs,
        repository,
        source=source,
        source_sha256=source_sha256,
        replace=True,
    )


def _place_tokenizer(tokenizer_json: Path, repository: Path) -> None:
    folder = version_folder(repository, RAPIDS_TOKENIZER.name, 1)
    with replacing(folder / TOKENIZER_FILE) as aside:
        aside.write_bytes(tokenizer_json.read_bytes())
    write_text(folder / WORDPIECE_FILE, Path(wordpiece.__file__).read_text(encoding="utf-8"))
    write_config(RAPIDS_TOKENIZER, repository)


def _place_code(signature: ModelSignature, repository: Path) -> None:
    """Copy a Python model's code from the project's own repository into another one."""
    code = Path(signature.name, "1", "model.py")
    if not (repository / code).is_file():
        write_text(repository / code, (PROJECT_ROOT / "model_repository" / code).read_text(encoding="utf-8"))


def _place_ensemble(ensemble: ModelSignature, repository: Path) -> None:
    write_config(ensemble, repository)
    version_folder(repository, ensemble.name, 1).mkdir(parents=True, exist_ok=True)
