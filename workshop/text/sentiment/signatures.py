"""The served sentiment models and the ensembles that chain them. Without torch, so that clients can import it.

A review passes three models: a tokenizer that makes rows of 256 token ids, the classifier (the same weights as
TorchScript or as ONNX), and a step that turns logits into an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from workshop.text.encoding import TOKENIZER_FILE
from workshop.text.ensembles import text_tokenizer
from workshop.text.sentiment.wordpiece import MAX_TOKENS
from workshop.triton.signature import EnsembleStep, ModelSignature, TensorSpec

BATCH_LIMIT = 64
WORDPIECE_FILE = "wordpiece.py"
NEGATIVE, POSITIVE, NO_TEXT = "negative", "positive", "no text"

_REVIEWS = TensorSpec("product_reviews", "BYTES", (1,))
_METADATA = TensorSpec("metadata", "INT64", (3,))
_ANSWER = (
    TensorSpec("label", "BYTES", (1,)),
    TensorSpec("probability", "FP32", (1,)),
    TensorSpec("review_index", "INT64", (1,)),
    TensorSpec("truncated", "BOOL", (1,)),
)
_SAME_NAMES = MappingProxyType({spec.name: spec.name for spec in _ANSWER})

RAPIDS_TOKENIZER = ModelSignature(
    name="rapids_tokenizer",
    backend="python",
    inputs=(_REVIEWS,),
    outputs=(
        TensorSpec("input_ids", "INT64", (MAX_TOKENS,)),
        TensorSpec("attention_mask", "INT64", (MAX_TOKENS,)),
        _METADATA,
    ),
    max_batch_size=BATCH_LIMIT,
    parameters=MappingProxyType({"engine": "auto", "tokenizer_file": TOKENIZER_FILE, "code_file": WORDPIECE_FILE}),
)

SENTIMENT_PYTORCH = ModelSignature(
    name="sentiment_model_pytorch",
    platform="pytorch_libtorch",
    inputs=(
        TensorSpec("input_ids__0", "INT64", (MAX_TOKENS,)),
        TensorSpec("attention_mask__1", "INT64", (MAX_TOKENS,)),
    ),
    outputs=(TensorSpec("logits__0", "FP32", (2,)),),
    max_batch_size=BATCH_LIMIT,
    queue_delay_us=0,
    instances=2,
)

SENTIMENT_ONNX = ModelSignature(
    name="sentiment_model_onnx",
    platform="onnxruntime_onnx",
    inputs=(
        TensorSpec("input_ids", "INT64", (MAX_TOKENS,)),
        TensorSpec("attention_mask", "INT64", (MAX_TOKENS,)),
    ),
    outputs=(TensorSpec("logits", "FP32", (2,)),),
    max_batch_size=BATCH_LIMIT,
    queue_delay_us=0,
    instances=2,
)

SENTIMENT_POSTPROCESSING = ModelSignature(
    name="sentiment_postprocessing",
    backend="python",
    inputs=(TensorSpec("logits", "FP32", (2,)), _METADATA),
    outputs=_ANSWER,
    max_batch_size=BATCH_LIMIT,
    parameters=MappingProxyType({"labels": ", ".join((NEGATIVE, POSITIVE, NO_TEXT))}),
)


def _end_to_end(
    name: str, model: ModelSignature, reviews: str = _REVIEWS.name, answers: Mapping[str, str] = _SAME_NAMES
) -> ModelSignature:
    """Reviews to answers through the tokenizer, ``model`` and the post-processing.

    ``reviews`` is the ensemble's name for its input, ``answers`` its names for the outputs that it hands out.
    """
    ids, mask = model.inputs
    (logits,) = model.outputs
    return ModelSignature(
        name=name,
        platform="ensemble",
        inputs=(replace(_REVIEWS, name=reviews),),
        outputs=tuple(replace(spec, name=answers[spec.name]) for spec in _ANSWER if spec.name in answers),
        max_batch_size=BATCH_LIMIT,
        steps=(
            EnsembleStep(
                RAPIDS_TOKENIZER.name,
                {_REVIEWS.name: reviews},
                {"input_ids": "input_ids", "attention_mask": "attention_mask", "metadata": "metadata"},
            ),
            EnsembleStep(model.name, {ids.name: "input_ids", mask.name: "attention_mask"}, {logits.name: "logits"}),
            EnsembleStep(
                SENTIMENT_POSTPROCESSING.name,
                {"logits": "logits", "metadata": "metadata"},
                answers,
            ),
        ),
    )


END_TO_END_PYTORCH = _end_to_end("end_to_end_pytorch", SENTIMENT_PYTORCH)
END_TO_END_ONNX = _end_to_end("end_to_end_onnx", SENTIMENT_ONNX)
# under the names of the generic classifiers, for their clients
SENTIMENT_CLASSIFIER = _end_to_end("sentiment", SENTIMENT_ONNX, "prompt", {"label": "label", "probability": "score"})

SENTIMENT_MODELS = (
    RAPIDS_TOKENIZER,
    SENTIMENT_PYTORCH,
    SENTIMENT_ONNX,
    SENTIMENT_POSTPROCESSING,
    END_TO_END_PYTORCH,
    END_TO_END_ONNX,
    SENTIMENT_CLASSIFIER,
)


def sentence_steps(model: ModelSignature) -> tuple[ModelSignature, ModelSignature, ModelSignature]:
    """``sentence_bert`` as two models, encoder and pooling, and the ensemble that chains them behind its tokenizer."""
    tokenizer = text_tokenizer(model)
    ids, mask = model.inputs
    (embedding,) = model.outputs
    hidden = TensorSpec("token_vectors__0", "FP32", (-1, *embedding.dims))
    encoder = ModelSignature(
        name="sentence_encoder",
        platform="pytorch_libtorch",
        inputs=model.inputs,
        outputs=(hidden,),
        max_batch_size=model.max_batch_size,
        queue_delay_us=0,
        instances=model.instances,
    )
    pooling = ModelSignature(
        name="sentence_pooling",
        platform="pytorch_libtorch",
        inputs=(hidden, mask),
        outputs=model.outputs,
        max_batch_size=model.max_batch_size,
        queue_delay_us=0,
    )
    ensemble = ModelSignature(
        name="sentence_embedding_steps",
        platform="ensemble",
        inputs=tokenizer.inputs,
        outputs=(TensorSpec("EMBEDDING", "FP32", embedding.dims),),
        max_batch_size=model.max_batch_size,
        steps=(
            EnsembleStep(tokenizer.name, {"TEXT": "TEXT"}, {ids.name: "input_ids", mask.name: "attention_mask"}),
            EnsembleStep(
                encoder.name, {ids.name: "input_ids", mask.name: "attention_mask"}, {hidden.name: "token_vectors"}
            ),
            EnsembleStep(
                pooling.name,
                {hidden.name: "token_vectors", mask.name: "attention_mask"},
                {embedding.name: "EMBEDDING"},
            ),
        ),
    )
    return encoder, pooling, ensemble
