"""Python-backend model: texts to token ids, with the tokenizer and the package that runs it from this very folder."""

import json
import os
import sys

import numpy as np
import triton_python_backend_utils as pb_utils

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "packages"))  # before what the server's machine may have installed

from tokenization import TextTokenizer  # noqa: E402


class TritonPythonModel:
    """``INPUT0`` (BYTES ``[batch, 1]``) to ``input_ids`` and ``attention_mask`` (INT64 ``[batch, length]``)."""

    def initialize(self, args):
        """Read the tokenizer beside this file, with the limits that the configuration names."""
        raw = json.loads(args["model_config"])["parameters"]
        parameters = {name: parameter.get("string_value", "") for name, parameter in raw.items()}
        self.tokenizer = TextTokenizer.from_parameters(os.path.join(HERE, parameters["tokenizer_file"]), parameters)

    def execute(self, requests):
        """Answer each request by itself; a text that is not UTF-8 fails its own request only."""
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        texts = pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy().reshape(-1)
        try:
            ids, mask = self.tokenizer([text.decode("utf-8") for text in texts])
        except UnicodeDecodeError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"INPUT0 is not UTF-8: {error}"))
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("input_ids", ids), pb_utils.Tensor("attention_mask", mask.astype(np.int64))]
        )
