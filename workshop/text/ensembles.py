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
from workshop.text.signatures import HYPOTHESIS_TEMPLATE, SENTENCE_BERT, ZERO_SHOT
from workshop.triton.signature import EnsembleStep, ModelSignature, TensorSpec, write_config

TOKENIZER_FILE = "tokenizer.json"
CODE_FILE = "tokenization.py"

_FILES = {"tokenizer_file": TOKENIZER_FILE, "code_file": CODE_FILE}
_TEXT = TensorSpec("TEXT", "BYTES", (1,))
_LABELS = TensorSpec("LABELS", "BYTES", (-1,))
_TEMPLATE = TensorSpec("TEMPLATE", "BYTES", (1,), optional=True)

TEXT_TOKENIZER = ModelSignature(
    name="text_tokenizer",
    backend="python",
    inputs=(_TEXT,),
    outputs=SENTENCE_BERT.inputs,
    max_batch_size=SENTENCE_BERT.max_batch_size,
    parameters=_FILES,
)

ZERO_SHOT_TOKENIZER = ModelSignature(
    name="zero_shot_tokenizer",
    backend="python",
    inputs=(_TEXT, _LABELS, _TEMPLATE),
    outputs=ZERO_SHOT.inputs,
    max_batch_size=ZERO_SHOT.max_batch_size,
    parameters={**_FILES, "hypothesis_template": HYPOTHESIS_TEMPLATE},
)


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


TEXT_EMBEDDING = _ensemble("text_embedding", TEXT_TOKENIZER, SENTENCE_BERT, {"embedding__0": "EMBEDDING"})
ZERO_SHOT_TEXT = _ensemble(
    "zero_shot_text",
    ZERO_SHOT_TOKENIZER,
    ZERO_SHOT,
    {"scores__0": "SCORES", "probabilities__1": "PROBABILITIES"},
)


def place_tokenizer(
    signature: ModelSignature, ensemble: ModelSignature, tokenizer_json: Path, repository: Path, version: int = 1
) -> None:
    """Put a tokenizer's files beside its ``model.py``, and the configurations of it and of its ensemble in place.

    Safe to repeat: the files are replaced atomically.
    """
    folder = repository / signature.name / str(version)
    with replacing(folder / TOKENIZER_FILE) as aside:
        aside.write_bytes(tokenizer_json.read_bytes())
    write_text(folder / CODE_FILE, Path(tokenization.__file__).read_text(encoding="utf-8"))
    write_config(signature, repository)
    write_config(ensemble, repository)
    (repository / ensemble.name / str(version)).mkdir(parents=True, exist_ok=True)
