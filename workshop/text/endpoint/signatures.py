"""The models of the archive for an endpoint, and the ensemble that chains them. Without torch.

Their folders make up a model repository of their own, beside that of the workshop: the names are those of the field's
examples, and an endpoint serves one archive.
"""

from __future__ import annotations

from dataclasses import dataclass

from workshop.text.encoding import TextEncoding
from workshop.text.ensembles import CODE_FILE
from workshop.triton.signature import EnsembleStep, ModelSignature, TensorSpec

ENSEMBLE = "ensemble"
INPUT, OUTPUT = "INPUT0", "finaloutput"
BATCH_LIMIT = 16
"""Token vectors pass between processes through shared memory, of which an endpoint has little: 16 texts of 256 tokens
with 384 numbers each are 25 MB in all, input and answer of every step included."""

PLATFORMS = {"onnx": "onnxruntime_onnx", "tensorrt": "tensorrt_plan"}
"""Form of the core model -> Triton's platform."""


@dataclass(frozen=True)
class EndpointModels:
    """The signatures of one archive.

    Attributes:
        preprocess: texts to token ids, cut at the longest input.
        core: token ids to one vector a token.
        postprocess: those to one vector a text.
        ensemble: all three in a row.
    """

    preprocess: ModelSignature
    core: ModelSignature
    postprocess: ModelSignature
    ensemble: ModelSignature

    @property
    def all(self) -> tuple[ModelSignature, ...]:
        """In the order in which a text passes them, the ensemble last."""
        return self.preprocess, self.core, self.postprocess, self.ensemble


def endpoint_models(encoding: TextEncoding, form: str = "onnx") -> EndpointModels:
    """The signatures for a sentence model that encodes texts so.

    Args:
        encoding: of the model; tokenizer, limits and pooling become parameters of the steps.
        form: of the core model, a key of ``PLATFORMS``.
    """
    text = TensorSpec(INPUT, "BYTES", (1,))
    ids = TensorSpec("input_ids", "INT64", (-1,), below=encoding.vocabulary_size, longest=encoding.max_tokens)
    mask = TensorSpec("attention_mask", "INT64", (-1,))
    hidden = TensorSpec("token_vectors", "FP32", (-1, encoding.width))
    vector = TensorSpec(OUTPUT, "FP32", (encoding.width,))
    facts = encoding.to_parameters()
    preprocess = ModelSignature(
        name="preprocess",
        backend="python",
        inputs=(text,),
        outputs=(TensorSpec("input_ids", "INT64", (-1,)), mask),
        max_batch_size=BATCH_LIMIT,
        parameters={"code_file": CODE_FILE, **facts},
    )
    core = ModelSignature(
        name="core",
        platform=PLATFORMS[form],
        inputs=(ids, mask),
        outputs=(hidden,),
        max_batch_size=BATCH_LIMIT,
        queue_delay_us=0,
    )
    postprocess = ModelSignature(
        name="postprocess",
        backend="python",
        inputs=(hidden, mask),
        outputs=(vector,),
        max_batch_size=BATCH_LIMIT,
        parameters={name: facts[name] for name in ("pooling", "normalised")},
    )
    return EndpointModels(preprocess, core, postprocess, _ensemble(preprocess, core, postprocess))


def _ensemble(*steps: ModelSignature) -> ModelSignature:
    """Chain models whose tensors of the same name are the same tensor."""
    return ModelSignature(
        name=ENSEMBLE,
        platform="ensemble",
        inputs=steps[0].inputs,
        outputs=steps[-1].outputs,
        max_batch_size=BATCH_LIMIT,
        steps=tuple(
            EnsembleStep(
                step.name,
                {spec.name: spec.name for spec in step.inputs},
                {spec.name: spec.name for spec in step.outputs},
            )
            for step in steps
        ),
    )
