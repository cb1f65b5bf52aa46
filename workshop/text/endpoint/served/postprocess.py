"""Python-backend model: one vector a token to one vector a text. Needs NumPy only."""

import json

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """``token_vectors`` (FP32 ``[batch, length, width]``) and ``attention_mask`` (INT64 ``[batch, length]``) to
    ``finaloutput`` (FP32 ``[batch, width]``).
    """

    def initialize(self, args):
        """Read pooling and normalisation from the configuration."""
        parameters = json.loads(args["model_config"])["parameters"]
        self.first_token = parameters["pooling"]["string_value"] == "cls"
        self.normalised = parameters["normalised"]["string_value"] == "true"

    def execute(self, requests):
        """Answer each request by itself; vectors that are not finite fail their own request only."""
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        hidden = pb_utils.get_input_tensor_by_name(request, "token_vectors").as_numpy()
        mask = pb_utils.get_input_tensor_by_name(request, "attention_mask").as_numpy()
        vectors = hidden[:, 0] if self.first_token else masked_mean(hidden, mask)
        if not np.isfinite(vectors).all():
            rows = np.flatnonzero(~np.isfinite(vectors).all(axis=1)).tolist()
            return pb_utils.InferenceResponse(
                error=pb_utils.TritonError(f"token vectors of rows {rows[:10]} are not finite")
            )
        if self.normalised:
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("finaloutput", np.ascontiguousarray(vectors, dtype=np.float32))]
        )


def masked_mean(hidden, mask):
    """Mean over the tokens that the mask keeps: FP32 ``[batch, width]``; zeros where it keeps none."""
    weights = mask.astype(np.float32)
    total = np.einsum("blw,bl->bw", hidden, weights)
    return total / np.maximum(weights.sum(axis=1, keepdims=True), 1)
