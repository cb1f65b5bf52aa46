"""Python-backend model: pictures of any size to the pixel values that ``vit`` takes."""

import os

import numpy as np
import triton_python_backend_utils as pb_utils
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil


class TritonPythonModel:
    """``image`` (UINT8 ``[batch, height, width, 3]``) to ``pixel_values`` (FP32 ``[batch, 3, size, size]``)."""

    def initialize(self, args):
        """Read the description of the preprocessing beside this file."""
        folder = os.path.join(args["model_repository"], args["model_version"])
        self.processor = ViTImageProcessorPil.from_pretrained(folder, local_files_only=True)

    def execute(self, requests):
        """Answer each request by itself; pictures that are too small fail their own request only."""
        return [self._answer(pb_utils.get_input_tensor_by_name(request, "image").as_numpy()) for request in requests]

    def _answer(self, images):
        if min(images.shape[1:3]) < 2:
            message = f"image has the shape {list(images.shape)}: expected pictures of at least 2 x 2 pixels"
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(message))
        pixels = self.processor(list(images), return_tensors="np", input_data_format="channels_last")["pixel_values"]
        return pb_utils.InferenceResponse([pb_utils.Tensor("pixel_values", np.ascontiguousarray(pixels))])
