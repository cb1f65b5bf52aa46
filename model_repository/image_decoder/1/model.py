"""Python-backend model: encoded pictures to the tensors that ``image_classifier`` takes."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import triton_python_backend_utils as pb_utils
from preprocessing import PictureError, Preprocessing, decode


class TritonPythonModel:
    """``IMAGE`` (BYTES ``[batch, 1]``) to ``image__0`` (FP32 ``[batch, 3, height, width]``).

    The parameters of the configuration say how the pictures are cropped, resized and normalised.
    """

    def initialize(self, args):
        """Read the description of the preprocessing."""
        parameters = json.loads(args["model_config"])["parameters"]
        self.preprocessing = Preprocessing.from_parameters(
            {name: value["string_value"] for name, value in parameters.items()}
        )
        # Pillow decodes and resizes outside Python's lock
        self.pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))

    def execute(self, requests):
        """Answer each request by itself; a picture that cannot be used fails its own request only."""
        return [self._answer(request) for request in requests]

    def finalize(self):
        """Stop the threads."""
        self.pool.shutdown()

    def _answer(self, request):
        pictures = pb_utils.get_input_tensor_by_name(request, "IMAGE").as_numpy().reshape(-1)
        tensors = list(self.pool.map(self._tensor, pictures))
        for row, tensor in enumerate(tensors):
            if isinstance(tensor, PictureError):
                return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"IMAGE {row}: {tensor}"))
        return pb_utils.InferenceResponse([pb_utils.Tensor("image__0", np.stack(tensors))])

    def _tensor(self, data):
        try:
            return self.preprocessing.tensor(decode(data))
        except PictureError as error:
            return error
