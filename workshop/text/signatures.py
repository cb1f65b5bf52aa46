"""What the traced text models take and give. Without torch, so that clients can import it."""

from __future__ import annotations

from workshop.text.encoding import TextEncoding
from workshop.triton.signature import ModelSignature, TensorSpec

HYPOTHESIS_TEMPLATE = "This text is about {}."

MINILM = TextEncoding(
    tokenizer_sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    vocabulary_size=30_522,
    max_tokens=256,
    pad_token_id=0,
    pooling="mean",
    normalised=True,
    prompt="",
    width=384,
)
"""Of the installed all-MiniLM-L6-v2, for the committed configurations."""


def sentence_bert_signature(encoding: TextEncoding) -> ModelSignature:
    """The signature of ``sentence_bert`` for a model that encodes texts so."""
    return ModelSignature(
        name="sentence_bert",
        platform="pytorch_libtorch",
        inputs=(_token_ids("input_ids__0", encoding), TensorSpec("attention_mask__1", "INT64", (-1,))),
        outputs=(TensorSpec("embedding__0", "FP32", (encoding.width,)),),
        max_batch_size=64,
        queue_delay_us=0,
        # two copies that each keep one core busy embed a fifth more texts than one copy on two cores
        instances=2,
        parameters=encoding.to_parameters(),
    )


def zero_shot_signature(encoding: TextEncoding) -> ModelSignature:
    """The signature of ``zero_shot`` for a model that encodes texts so."""
    return ModelSignature(
        name="zero_shot",
        platform="pytorch_libtorch",
        inputs=(
            _token_ids("text_ids__0", encoding),
            TensorSpec("text_mask__1", "INT64", (-1,)),
            _token_ids("label_ids__2", encoding, (-1, -1)),
            TensorSpec("label_mask__3", "INT64", (-1, -1)),
        ),
        outputs=(TensorSpec("scores__0", "FP32", (-1,)), TensorSpec("probabilities__1", "FP32", (-1,))),
        max_batch_size=32,
        queue_delay_us=0,
        parameters=encoding.to_parameters(),
    )


def _token_ids(name: str, encoding: TextEncoding, dims: tuple[int, ...] = (-1,)) -> TensorSpec:
    return TensorSpec(name, "INT64", dims, below=encoding.vocabulary_size, longest=encoding.max_tokens)


SENTENCE_BERT = sentence_bert_signature(MINILM)
ZERO_SHOT = zero_shot_signature(MINILM)
