"""What the traced text models take and give. Without torch, so that clients can import it."""

from __future__ import annotations

from workshop.triton.signature import ModelSignature, TensorSpec

HYPOTHESIS_TEMPLATE = "This text is about {}."
EMBEDDING_SIZE = 384

SENTENCE_BERT = ModelSignature(
    name="sentence_bert",
    platform="pytorch_libtorch",
    inputs=(TensorSpec("input_ids__0", "INT64", (-1,)), TensorSpec("attention_mask__1", "INT64", (-1,))),
    outputs=(TensorSpec("embedding__0", "FP32", (EMBEDDING_SIZE,)),),
    max_batch_size=64,
    queue_delay_us=0,
    # two copies that each keep one core busy embed a fifth more texts than one copy on two cores
    instances=2,
)

ZERO_SHOT = ModelSignature(
    name="zero_shot",
    platform="pytorch_libtorch",
    inputs=(
        TensorSpec("text_ids__0", "INT64", (-1,)),
        TensorSpec("text_mask__1", "INT64", (-1,)),
        TensorSpec("label_ids__2", "INT64", (-1, -1)),
        TensorSpec("label_mask__3", "INT64", (-1, -1)),
    ),
    outputs=(TensorSpec("scores__0", "FP32", (-1,)), TensorSpec("probabilities__1", "FP32", (-1,))),
    max_batch_size=32,
    queue_delay_us=0,
)
