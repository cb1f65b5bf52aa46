"""The vision transformer's two served forms. Without torch, so that clients can import it."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from workshop.errors import RepositoryError
from workshop.triton.signature import EnsembleStep, ModelSignature, TensorSpec

PROCESSOR_FILE = "preprocessor_config.json"
CHECKPOINT_FILES = ("config.json", "model.safetensors", PROCESSOR_FILE)
MAX_BATCH_SIZE = 32
RENEW = 'make run NOTEBOOKS="10", which exports the model again'
TOLERANCE = 1e-4
"""Largest absolute difference between the answers of the two ways: PyTorch and ONNX Runtime add in other orders."""

_IMAGE = TensorSpec("image", "UINT8", (-1, -1, 3))


@dataclass(frozen=True)
class VitShape:
    """Sizes of a vision transformer's tensors.

    Attributes:
        size: pixels of its square input.
        tokens: patches and the class token.
        hidden: length of a token's vector.
        classes: number of classes.
    """

    size: int
    tokens: int
    hidden: int
    classes: int

    @classmethod
    def of(cls, model: ModelSignature) -> VitShape:
        """The sizes of a ``vit`` that was exported with this signature.

        Raises:
            RepositoryError: its tensors are not those of a vision transformer.
        """
        try:
            (pixels,), (probabilities, hidden) = model.inputs, model.outputs
            (_, size, _), (classes,) = pixels.dims, probabilities.dims
            return cls(size, *hidden.dims, classes)
        except (ValueError, TypeError) as error:
            raise RepositoryError(f"model {model.name!r} is no vision transformer: {error}", hint=RENEW) from error

    @property
    def pixels(self) -> TensorSpec:
        """The model's input."""
        return TensorSpec("pixel_values", "FP32", (3, self.size, self.size))

    @property
    def outputs(self) -> tuple[TensorSpec, TensorSpec]:
        """What both ways give."""
        return (
            TensorSpec("probabilities", "FP32", (self.classes,)),
            TensorSpec("last_hidden_state", "FP32", (self.tokens, self.hidden)),
        )


DIGITS_SHAPE = VitShape(size=8, tokens=17, hidden=48, classes=10)


def python_vit(shape: VitShape = DIGITS_SHAPE) -> ModelSignature:
    """Way A: pictures to probabilities and features in one Python-backend model."""
    return ModelSignature(
        name="python_vit",
        backend="python",
        inputs=(_IMAGE,),
        outputs=shape.outputs,
        max_batch_size=MAX_BATCH_SIZE,
        queue_delay_us=0,
        parameters=MappingProxyType(
            {
                "architecture_file": "config.json",
                "weights_file": "model.safetensors",
                "processor_file": PROCESSOR_FILE,
            }
        ),
    )


def vit_preprocessing(shape: VitShape = DIGITS_SHAPE) -> ModelSignature:
    """First step of way B: pictures to pixel values, a Python-backend model."""
    return ModelSignature(
        name="vit_preprocessing",
        backend="python",
        inputs=(_IMAGE,),
        outputs=(shape.pixels,),
        max_batch_size=MAX_BATCH_SIZE,
        queue_delay_us=0,
        parameters=MappingProxyType({"processor_file": PROCESSOR_FILE}),
    )


def vit(shape: VitShape = DIGITS_SHAPE) -> ModelSignature:
    """Second step of way B: pixel values to probabilities and features, on ONNX Runtime."""
    return ModelSignature(
        name="vit",
        platform="onnxruntime_onnx",
        inputs=(shape.pixels,),
        outputs=shape.outputs,
        max_batch_size=MAX_BATCH_SIZE,
        queue_delay_us=0,
    )


def ensemble_vit(shape: VitShape = DIGITS_SHAPE) -> ModelSignature:
    """Way B: the two steps as one ensemble."""
    first, second = vit_preprocessing(shape), vit(shape)
    names = {spec.name: spec.name for spec in second.outputs}
    return ModelSignature(
        name="ensemble_vit",
        platform="ensemble",
        inputs=(_IMAGE,),
        outputs=shape.outputs,
        max_batch_size=MAX_BATCH_SIZE,
        steps=(
            EnsembleStep(first.name, {"image": "image"}, {"pixel_values": "pixel_values"}),
            EnsembleStep(second.name, {"pixel_values": "pixel_values"}, names),
        ),
    )


def vit_models(shape: VitShape = DIGITS_SHAPE) -> tuple[ModelSignature, ...]:
    """Both ways, with the steps of the second."""
    return python_vit(shape), vit_preprocessing(shape), vit(shape), ensemble_vit(shape)


VIT_MODELS = vit_models()
"""Of the digits' checkpoint, for the committed configurations."""
