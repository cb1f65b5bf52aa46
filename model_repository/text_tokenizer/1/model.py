"""Python-backend model: texts to the token ids that ``sentence_bert`` takes."""

import json
import os

import numpy as np
import triton_python_backend_utils as pb_utils
from tokenization import TextTokenizer


class TritonPythonModel:
    """``TEXT`` (BYTES ``[batch, 1]``) to ``input_ids__0`` and ``attention_mask__1`` (INT64 ``[batch, length]``)."""

    def initialize(self, args):
        """Read the tokenizer beside this file, with the limits that the configuration names."""
        path = os.path.join(args["model_repository"], args["model_version"], "tokenizer.json")
        raw = json.loads(args["model_config"])["parameters"]
        parameters = {name: parameter.get("string_value", "") for name, parameter in raw.items()}
        self.tokenizer = TextTokenizer.from_parameters(path, parameters)

    def execute(self, requests):
        """Answer each request by itself; a text that is not UTF-8 fails its own request only."""
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        texts = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy().reshape(-1)
        try:
            ids, mask = self.tokenizer([text.decode("utf-8") for text in texts])
        except UnicodeDecodeError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"TEXT is not UTF-8: {error}"))
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("input_ids__0", ids), pb_utils.Tensor("attention_mask__1", mask.astype(np.int64))]
        )
