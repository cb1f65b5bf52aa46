"""The served sentiment models and the ensembles that chain them. Without torch, so that clients can import it.

A review passes three models: a tokenizer that makes rows of 256 token ids, the classifier (the same weights as
TorchScript or as ONNX), and a step that turns logits into an answer.
"""

from __future__ import annotations

from types import MappingProxyType

from workshop.text.ensembles import TEXT_TOKENIZER, TOKENIZER_FILE
from workshop.text.sentiment.wordpiece import MAX_TOKENS
from workshop.text.signatures import EMBEDDING_SIZE, SENTENCE_BERT
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


def _end_to_end(name: str, model: ModelSignature) -> ModelSignature:
    """Reviews to answers through the tokenizer, ``model`` and the post-processing."""
    ids, mask = model.inputs
    (logits,) = model.outputs
    return ModelSignature(
        name=name,
        platform="ensemble",
        inputs=(_REVIEWS,),
        outputs=_ANSWER,
        max_batch_size=BATCH_LIMIT,
        steps=(
            EnsembleStep(
                RAPIDS_TOKENIZER.name,
                {"product_reviews": "product_reviews"},
                {"input_ids": "input_ids", "attention_mask": "attention_mask", "metadata": "metadata"},
            ),
            EnsembleStep(model.name, {ids.name: "input_ids", mask.name: "attention_mask"}, {logits.name: "logits"}),
            EnsembleStep(
                SENTIMENT_POSTPROCESSING.name,
                {"logits": "logits", "metadata": "metadata"},
                {spec.name: spec.name for spec in _ANSWER},
            ),
        ),
    )


END_TO_END_PYTORCH = _end_to_end("end_to_end_pytorch", SENTIMENT_PYTORCH)
END_TO_END_ONNX = _end_to_end("end_to_end_onnx", SENTIMENT_ONNX)

SENTENCE_ENCODER = ModelSignature(
    name="sentence_encoder",
    platform="pytorch_libtorch",
    inputs=SENTENCE_BERT.inputs,
    outputs=(TensorSpec("token_vectors__0", "FP32", (-1, EMBEDDING_SIZE)),),
    max_batch_size=SENTENCE_BERT.max_batch_size,
    queue_delay_us=0,
    instances=SENTENCE_BERT.instances,
)

SENTENCE_POOLING = ModelSignature(
    name="sentence_pooling",
    platform="pytorch_libtorch",
    inputs=(TensorSpec("token_vectors__0", "FP32", (-1, EMBEDDING_SIZE)), SENTENCE_BERT.inputs[1]),
    outputs=SENTENCE_BERT.outputs,
    max_batch_size=SENTENCE_BERT.max_batch_size,
    queue_delay_us=0,
)

SENTENCE_EMBEDDING_STEPS = ModelSignature(
    name="sentence_embedding_steps",
    platform="ensemble",
    inputs=TEXT_TOKENIZER.inputs,
    outputs=(TensorSpec("EMBEDDING", "FP32", (EMBEDDING_SIZE,)),),
    max_batch_size=SENTENCE_BERT.max_batch_size,
    steps=(
        EnsembleStep(
            TEXT_TOKENIZER.name,
            {"TEXT": "TEXT"},
            {"input_ids__0": "input_ids", "attention_mask__1": "attention_mask"},
        ),
        EnsembleStep(
            SENTENCE_ENCODER.name,
            {"input_ids__0": "input_ids", "attention_mask__1": "attention_mask"},
            {"token_vectors__0": "token_vectors"},
        ),
        EnsembleStep(
            SENTENCE_POOLING.name,
            {"token_vectors__0": "token_vectors", "attention_mask__1": "attention_mask"},
            {"embedding__0": "EMBEDDING"},
        ),
    ),
)

SENTIMENT_MODELS = (
    RAPIDS_TOKENIZER,
    SENTIMENT_PYTORCH,
    SENTIMENT_ONNX,
    SENTIMENT_POSTPROCESSING,
    END_TO_END_PYTORCH,
    END_TO_END_ONNX,
)
SENTENCE_STEPS = (SENTENCE_ENCODER, SENTENCE_POOLING, SENTENCE_EMBEDDING_STEPS)
