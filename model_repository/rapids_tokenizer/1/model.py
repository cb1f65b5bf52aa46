"""Python-backend model: reviews to the token ids that the sentiment models take."""

import json
import os

import triton_python_backend_utils as pb_utils
from wordpiece import frame, load_engine, marker_ids


class TritonPythonModel:
    """``product_reviews`` (BYTES ``[batch, 1]``) to ``input_ids`` and ``attention_mask`` (INT64 ``[batch, 256]``).

    ``metadata`` (INT64 ``[batch, 3]``) holds each review's row, its tokens kept, and its tokens.
    """

    def initialize(self, args):
        """Read the tokenizer beside this file."""
        path = os.path.join(args["model_repository"], args["model_version"], "tokenizer.json")
        parameters = json.loads(args["model_config"])["parameters"]
        on_gpu = args["model_instance_kind"] == "GPU"
        self.engine = load_engine(parameters["engine"]["string_value"], path, on_gpu=on_gpu)
        self.markers = marker_ids(path)
        pb_utils.Logger.log_info(f"rapids_tokenizer: {type(self.engine).__name__}")

    def execute(self, requests):
        """Answer each request by itself; a review that is not UTF-8 fails its own request only."""
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        reviews = pb_utils.get_input_tensor_by_name(request, "product_reviews").as_numpy().reshape(-1)
        texts = []
        for row, review in enumerate(reviews):
            try:
                texts.append(review.decode("utf-8"))
            except UnicodeDecodeError as error:
                message = f"product_reviews: review {row} is not UTF-8: {error}"
                return pb_utils.InferenceResponse(error=pb_utils.TritonError(message))
        outputs = zip(("input_ids", "attention_mask", "metadata"), frame(self.engine(texts), self.markers), strict=True)
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in outputs])
