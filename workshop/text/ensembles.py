"""The served tokenizers and the ensembles that take strings.

The tokenizers are Python-backend models (``model_repository/*/1/model.py``); an ensemble feeds their tensors to the
traced model, so a client sends plain strings: https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/
docs/user_guide/ensemble_models.html
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from workshop.files import replacing, write_text
from workshop.text import tokenization
from workshop.text.encoding import TOKENIZER_FILE
from workshop.text.signatures import HYPOTHESIS_TEMPLATE
from workshop.triton.artefact import version_folders
from workshop.triton.signature import EnsembleStep, ModelSignature, TensorSpec, write_config

TEXT_EMBEDDING = "text_embedding"
ZERO_SHOT_TEXT = "zero_shot_text"
CODE_FILE = "tokenization.py"

_TEXT = TensorSpec("TEXT", "BYTES", (1,))
_LABELS = TensorSpec("LABELS", "BYTES", (-1,))
_TEMPLATE = TensorSpec("TEMPLATE", "BYTES", (1,), optional=True)


def text_tokenizer(model: ModelSignature) -> ModelSignature:
    """The tokenizer that feeds a ``sentence_bert``."""
    return _tokenizer("text_tokenizer", (_TEXT,), model, {})


def zero_shot_tokenizer(model: ModelSignature) -> ModelSignature:
    """The tokenizer that feeds a ``zero_shot``."""
    template = {"hypothesis_template": HYPOTHESIS_TEMPLATE}
    return _tokenizer("zero_shot_tokenizer", (_TEXT, _LABELS, _TEMPLATE), model, template)


def _tokenizer(
    name: str, inputs: tuple[TensorSpec, ...], model: ModelSignature, parameters: dict[str, str]
) -> ModelSignature:
    return ModelSignature(
        name=name,
        backend="python",
        inputs=inputs,
        outputs=model.inputs,
        max_batch_size=model.max_batch_size,
        parameters={"code_file": CODE_FILE, **model.parameters, **parameters},
    )


def text_embedding(model: ModelSignature) -> ModelSignature:
    """The ensemble of ``text_tokenizer`` and ``sentence_bert``."""
    return _ensemble(TEXT_EMBEDDING, text_tokenizer(model), model, {"embedding__0": "EMBEDDING"})


def zero_shot_text(model: ModelSignature) -> ModelSignature:
    """The ensemble of ``zero_shot_tokenizer`` and ``zero_shot``."""
    outputs = {"scores__0": "SCORES", "probabilities__1": "PROBABILITIES"}
    return _ensemble(ZERO_SHOT_TEXT, zero_shot_tokenizer(model), model, outputs)


def _ensemble(name: str, tokenizer: ModelSignature, model: ModelSignature, outputs: dict[str, str]) -> ModelSignature:
    """Chain a tokenizer and a traced model; ``outputs`` renames the model's outputs for the client."""
    tokens = {spec.name: spec.name for spec in tokenizer.outputs}
    return ModelSignature(
        name=name,
        platform="ensemble",
        inputs=tokenizer.inputs,
        outputs=tuple(replace(spec, name=outputs[spec.name]) for spec in model.outputs),
        max_batch_size=min(tokenizer.max_batch_size, model.max_batch_size),
        steps=(
            EnsembleStep(tokenizer.name, {spec.name: spec.name for spec in tokenizer.inputs}, tokens),
            EnsembleStep(model.name, tokens, outputs),
        ),
        # strings are what clients repeat; a cache on the steps would also keep the errors of Python models, as empty
        # answers (seen with Triton 2.51)
        response_cache=True,
    )


def place_tokenizer(
    signature: ModelSignature,
    ensemble: ModelSignature,
    tokenizer_json: Path,
    repository: Path,
    version: int = 1,
    *,
    replaced: bool = False,
) -> None:
    """Put a tokenizer's files beside its ``model.py``, and the configurations of it and of its ensemble in place.

    Safe to repeat: the files are replaced atomically.

    Args:
        signature: of the tokenizer.
        ensemble: of the ensemble that starts with it.
        tokenizer_json: the tokenizer's file.
        repository: the model repository.
        version: version of the tokenizer model.
        replaced: whether another traced model took the place of one. The ensemble then gets a new version: Triton's
            response cache outlives a reload and knows versions only, so it would go on with the old model's answers.
    """
    folder = repository / signature.name / str(version)
    with replacing(folder / TOKENIZER_FILE) as aside:
        aside.write_bytes(tokenizer_json.read_bytes())
    write_text(folder / CODE_FILE, Path(tokenization.__file__).read_text(encoding="utf-8"))
    write_config(signature, repository)
    write_config(ensemble, repository)
    home = repository / ensemble.name
    (home / "1").mkdir(parents=True, exist_ok=True)
    if replaced:
        versions = version_folders(home)
        (home / str(int(versions[-1].name) + 1)).mkdir()
        for outdated in versions[1:]:
            outdated.rmdir()
