"""What the image models take and give. Without torch, so that clients can import it."""

from __future__ import annotations

from types import MappingProxyType

from workshop.errors import RepositoryError
from workshop.triton.signature import EnsembleStep, ModelSignature, TensorSpec
from workshop.vision.preprocessing import Preprocessing

LABELS_FILE = "labels.txt"
PREPROCESSING_CODE_FILE = "preprocessing.py"
MAX_BATCH_SIZE = 32
RENEW = 'make run NOTEBOOKS="08", which exports the model again'

# EfficientNet-Lite, as published: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
EFFICIENTNET_LITE0 = Preprocessing(
    height=224,
    width=224,
    crop=0.875,
    interpolation="bicubic",
    mean=(127.0, 127.0, 127.0),
    deviation=(128.0, 128.0, 128.0),
)

_PICTURE = TensorSpec("IMAGE", "BYTES", (1,))


def image_classifier(preprocessing: Preprocessing = EFFICIENTNET_LITE0, classes: int = 1000) -> ModelSignature:
    """The classifier: tensors to class probabilities.

    One input in NCHW order, fixed sizes, and one vector with a file of labels: the form that Triton's example image
    client works with, https://github.com/triton-inference-server/client/blob/main/src/python/examples/image_client.py
    """
    return ModelSignature(
        name="image_classifier",
        platform="pytorch_libtorch",
        inputs=(TensorSpec("image__0", "FP32", (3, preprocessing.height, preprocessing.width), format="FORMAT_NCHW"),),
        outputs=(TensorSpec("probabilities__0", "FP32", (classes,), label_filename=LABELS_FILE),),
        max_batch_size=MAX_BATCH_SIZE,
        queue_delay_us=0,
        parameters=MappingProxyType(preprocessing.to_parameters()),
    )


def image_decoder(preprocessing: Preprocessing = EFFICIENTNET_LITE0) -> ModelSignature:
    """The decoder, a Python-backend model: encoded pictures to the classifier's tensors."""
    return ModelSignature(
        name="image_decoder",
        backend="python",
        inputs=(_PICTURE,),
        outputs=(TensorSpec("image__0", "FP32", (3, preprocessing.height, preprocessing.width)),),
        max_batch_size=MAX_BATCH_SIZE,
        parameters=MappingProxyType({**preprocessing.to_parameters(), "code_file": PREPROCESSING_CODE_FILE}),
    )


def image_classification(preprocessing: Preprocessing = EFFICIENTNET_LITE0, classes: int = 1000) -> ModelSignature:
    """The ensemble: encoded pictures to class probabilities; its labels are those of the classifier."""
    decoder, classifier = image_decoder(preprocessing), image_classifier(preprocessing, classes)
    return ModelSignature(
        name="image_classification",
        platform="ensemble",
        inputs=(_PICTURE,),
        outputs=(TensorSpec("PROBABILITIES", "FP32", (classes,)),),
        max_batch_size=MAX_BATCH_SIZE,
        steps=(
            EnsembleStep(decoder.name, {"IMAGE": "IMAGE"}, {"image__0": "image__0"}),
            EnsembleStep(classifier.name, {"image__0": "image__0"}, {"probabilities__0": "PROBABILITIES"}),
        ),
    )


def image_models(preprocessing: Preprocessing = EFFICIENTNET_LITE0, classes: int = 1000) -> tuple[ModelSignature, ...]:
    """The classifier, its decoder and the ensemble of both."""
    return (
        image_classifier(preprocessing, classes),
        image_decoder(preprocessing),
        image_classification(preprocessing, classes),
    )


def image_models_around(classifier: ModelSignature) -> tuple[ModelSignature, ...]:
    """The three models of a classifier that was exported with this signature.

    Raises:
        RepositoryError: it does not describe its pictures and classes.
    """
    try:
        (scores,) = classifier.outputs
        (classes,) = scores.dims
        return image_models(Preprocessing.from_parameters(classifier.parameters), classes)
    except ValueError as error:
        raise RepositoryError(f"model {classifier.name!r}: {error}", hint=RENEW) from error


IMAGE_MODELS = image_models()
"""Of the installed EfficientNet-Lite0, for the committed configurations."""
