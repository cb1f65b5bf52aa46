"""Python-backend model: logits and the tokenizer's metadata to an answer that a reader understands."""

import json

import numpy as np
import triton_python_backend_utils as pb_utils

NO_TEXT = 2  # position of the label for a review without a token, behind negative and positive


class TritonPythonModel:
    """``logits`` (FP32 ``[batch, 2]``) and ``metadata`` (INT64 ``[batch, 3]``) to one answer a review.

    ``label`` (BYTES), ``probability`` of that label (FP32), ``review_index``, the review's row in the request (INT64),
    and ``truncated``, whether its end was cut (BOOL), all ``[batch, 1]``. A review without a token is ``no text``
    with probability 0: there is nothing to judge.
    """

    def initialize(self, args):
        """Read the labels from the configuration."""
        labels = json.loads(args["model_config"])["parameters"]["labels"]["string_value"].split(", ")
        self.labels = np.array([label.encode() for label in labels], dtype=object)

    def execute(self, requests):
        """Answer each request by itself; logits that are not finite fail their own request only."""
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        logits = pb_utils.get_input_tensor_by_name(request, "logits").as_numpy().astype(np.float64)
        index, kept, tokens = pb_utils.get_input_tensor_by_name(request, "metadata").as_numpy().T
        if not np.isfinite(logits).all():
            rows = np.flatnonzero(~np.isfinite(logits).all(axis=1)).tolist()
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"logits of rows {rows[:10]} are not finite"))
        positive = 1 / (1 + np.exp(np.clip(logits[:, 0] - logits[:, 1], -700, 700)))
        label = np.where(tokens == 0, NO_TEXT, (positive >= 0.5).astype(np.int64))
        probability = np.where(tokens == 0, 0, np.maximum(positive, 1 - positive))
        answer = {
            "label": self.labels[label],
            "probability": probability.astype(np.float32),
            "review_index": index,
            "truncated": tokens > kept,
        }
        wanted = set(request.requested_output_names())
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, np.ascontiguousarray(a[:, None])) for name, a in answer.items() if name in wanted]
        )
