"""What the served Hub models take and give. Without torch, so that clients can import it."""

from __future__ import annotations

from workshop.triton.signature import ModelSignature, TensorSpec

MAX_BATCH_SIZE = 16
STREAM_SUFFIX = "_stream"
# Requests that arrive together run as one batch: waiting this long costs little beside a generation.
GENERATION_QUEUE_DELAY_US = 10_000
CLASSIFICATION_QUEUE_DELAY_US = 1_000

_PROMPT = TensorSpec("prompt", "BYTES", (1,))


def generator_signature(name: str, parameters: dict[str, str]) -> ModelSignature:
    """A generator that answers whole texts, ``num_sequences`` for each prompt."""
    return ModelSignature(
        name=name,
        backend="python",
        inputs=(_PROMPT,),
        outputs=(
            TensorSpec("text", "BYTES", (-1,)),
            TensorSpec("finish_reason", "BYTES", (-1,)),
            TensorSpec("completion_tokens", "INT32", (-1,)),
            TensorSpec("prompt_tokens", "INT32", (1,)),
        ),
        max_batch_size=MAX_BATCH_SIZE,
        queue_delay_us=GENERATION_QUEUE_DELAY_US,
        instances=1,
        parameters=parameters,
    )


def stream_signature(name: str, parameters: dict[str, str]) -> ModelSignature:
    """The decoupled twin of a generator: a response for each token, under the names of Triton's generate extension."""
    return ModelSignature(
        name=name,
        backend="python",
        inputs=(TensorSpec("text_input", "BYTES", (1,)),),
        outputs=(
            TensorSpec("text_output", "BYTES", (1,)),
            TensorSpec("index", "INT32", (1,)),
            TensorSpec("finish_reason", "BYTES", (1,)),
            TensorSpec("completion_tokens", "INT32", (1,)),
            TensorSpec("prompt_tokens", "INT32", (1,)),
        ),
        instances=1,
        parameters=parameters,
        decoupled=True,
    )


def classifier_signature(name: str, parameters: dict[str, str]) -> ModelSignature:
    """A classifier that answers each prompt's likeliest label and its probability."""
    return ModelSignature(
        name=name,
        backend="python",
        inputs=(_PROMPT,),
        outputs=(TensorSpec("label", "BYTES", (1,)), TensorSpec("score", "FP32", (1,))),
        max_batch_size=64,
        queue_delay_us=CLASSIFICATION_QUEUE_DELAY_US,
        instances=1,
        parameters=parameters,
    )
