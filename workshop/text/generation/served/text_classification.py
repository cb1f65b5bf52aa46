"""Python-backend model: any sequence classifier of the Hub.

``config.pbtxt`` names it in ``huggingface_model`` (folder or Hub id on this machine); ``max_length`` is the most tokens
a text may have, 0 for as many as the model takes.
"""

from __future__ import annotations

import json
import os

import numpy as np
import torch
import triton_python_backend_utils as pb_utils
from transformers import AutoModelForSequenceClassification, AutoTokenizer


class TritonPythonModel:
    """``prompt`` (BYTES ``[batch, 1]``) to ``label`` (BYTES ``[batch, 1]``) and ``score`` (FP32 ``[batch, 1]``)."""

    def initialize(self, args):
        """Load tokenizer and weights; only files on this machine are used."""
        parameters = json.loads(args["model_config"])["parameters"]
        model = os.path.expandvars(parameters["huggingface_model"]["string_value"])
        gpu = args["model_instance_kind"] == "GPU"
        self.device = f"cuda:{args['model_instance_device_id']}" if gpu else "cpu"
        self.tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
        self.model = AutoModelForSequenceClassification.from_pretrained(model, local_files_only=True)
        self.model.eval().to(self.device)
        most = self.model.config.max_position_embeddings
        if self.model.config.model_type in ("roberta", "xlm-roberta", "camembert"):
            most -= self.model.config.pad_token_id + 1  # they count positions from behind the padding id on
        self.max_length = int(parameters["max_length"]["string_value"]) or most
        if self.max_length > most:
            raise ValueError(f"max_length is {self.max_length}, the model takes {most} tokens")

    def execute(self, requests):
        """Run the requests that Triton hands over as one padded batch; one that is wrong fails alone."""
        texts: list[str] = []
        spans: list[slice | str] = []
        for request in requests:
            try:
                own = self._texts(request)
            except ValueError as error:
                spans.append(str(error))
                continue
            spans.append(slice(len(texts), len(texts) + len(own)))
            texts += own
        labels, scores = self._classify(texts) if texts else (None, None)
        return [
            pb_utils.InferenceResponse(error=pb_utils.TritonError(span, pb_utils.TritonError.INVALID_ARG))
            if isinstance(span, str)
            else pb_utils.InferenceResponse(
                [pb_utils.Tensor("label", labels[span]), pb_utils.Tensor("score", scores[span])]
            )
            for span in spans
        ]

    def finalize(self):
        """Free the memory."""
        del self.model

    def _texts(self, request) -> list[str]:
        values = pb_utils.get_input_tensor_by_name(request, "prompt").as_numpy().reshape(-1)
        try:
            texts = [value.decode("utf-8") for value in values]
        except UnicodeDecodeError as error:
            raise ValueError(f"prompt is not UTF-8: {error}") from error
        for number, text in enumerate(texts):
            if not text.strip():
                raise ValueError(f"prompt {number}: the prompt is empty")
            tokens = len(self.tokenizer(text)["input_ids"])
            if tokens > self.max_length:
                raise ValueError(
                    f"prompt {number}: {tokens} tokens, the model takes at most {self.max_length}; shorten the text"
                )
        return texts

    @torch.inference_mode()
    def _classify(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """The likeliest label of each text and its probability, both ``[texts, 1]``."""
        encoded = self.tokenizer(texts, padding=True, return_tensors="pt").to(self.device)
        logits = self.model(**encoded).logits.float()
        config = self.model.config
        independent = config.num_labels == 1 or config.problem_type == "multi_label_classification"
        best, index = (logits.sigmoid() if independent else logits.softmax(dim=1)).max(dim=1)
        labels = np.array([[config.id2label[i].encode("utf-8")] for i in index.tolist()], dtype=object)
        return labels, best[:, None].cpu().numpy()
