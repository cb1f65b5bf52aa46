"""Python-backend model: pictures of any size to class probabilities and features, all in this one file."""

import os

import numpy as np
import torch
import triton_python_backend_utils as pb_utils
from transformers import ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil


class TritonPythonModel:
    """A vision transformer with its preprocessing.

    ``image`` (UINT8 ``[batch, height, width, 3]``) to ``probabilities`` (FP32 ``[batch, classes]``) and
    ``last_hidden_state`` (FP32 ``[batch, tokens, hidden]``).
    """

    def initialize(self, args):
        """Load the checkpoint beside this file."""
        folder = os.path.join(args["model_repository"], args["model_version"])
        gpu = args["model_instance_kind"].endswith("GPU") and torch.cuda.is_available()
        self.device = torch.device("cuda", int(args["model_instance_device_id"])) if gpu else torch.device("cpu")
        self.processor = ViTImageProcessorPil.from_pretrained(folder, local_files_only=True)
        self.model = ViTForImageClassification.from_pretrained(folder, local_files_only=True).eval().to(self.device)

    def execute(self, requests):
        """Answer all requests in one forward pass; pictures that are too small fail their own request only."""
        images = [pb_utils.get_input_tensor_by_name(request, "image").as_numpy() for request in requests]
        pixels = [self._pixels(batch) for batch in images if min(batch.shape[1:3]) >= 2]
        outputs = self._forward(np.concatenate(pixels)) if pixels else ()
        responses, start = [], 0
        for batch in images:
            if min(batch.shape[1:3]) < 2:
                message = f"image has the shape {list(batch.shape)}: expected pictures of at least 2 x 2 pixels"
                responses.append(pb_utils.InferenceResponse(error=pb_utils.TritonError(message)))
                continue
            rows = slice(start, start + len(batch))
            start = rows.stop
            responses.append(
                pb_utils.InferenceResponse([pb_utils.Tensor(name, array[rows]) for name, array in outputs])
            )
        return responses

    def _pixels(self, images):
        return self.processor(list(images), return_tensors="np", input_data_format="channels_last")["pixel_values"]

    def _forward(self, pixels):
        with torch.inference_mode():
            hidden = self.model.vit(torch.from_numpy(pixels).to(self.device)).last_hidden_state
            probabilities = torch.softmax(self.model.classifier(hidden[:, 0]), dim=-1)
        return ("probabilities", probabilities.cpu().numpy()), ("last_hidden_state", hidden.cpu().numpy())
