"""Python-backend model: a text, its labels and a hypothesis template to the tensors that ``zero_shot`` takes."""

import json
import os

import numpy as np
import triton_python_backend_utils as pb_utils
from tokenization import TextTokenizer


class TritonPythonModel:
    """Tokenises a text and one hypothesis per label.

    ``TEXT`` (BYTES ``[batch, 1]``), ``LABELS`` (BYTES ``[batch, labels]``) and, optionally, ``TEMPLATE`` (BYTES
    ``[batch, 1]``, with ``{}`` where the label goes; default: the parameter ``hypothesis_template``) become
    ``text_ids__0`` and ``text_mask__1`` (INT64 ``[batch, length]``), ``label_ids__2`` and ``label_mask__3`` (INT64
    ``[batch, labels, label_length]``).
    """

    def initialize(self, args):
        """Read the tokenizer beside this file, with the limits that the configuration names."""
        path = os.path.join(args["model_repository"], args["model_version"], "tokenizer.json")
        raw = json.loads(args["model_config"])["parameters"]
        parameters = {name: parameter.get("string_value", "") for name, parameter in raw.items()}
        self.tokenizer = TextTokenizer.from_parameters(path, parameters)
        self.template = parameters["hypothesis_template"]

    def execute(self, requests):
        """Answer each request by itself; a wrong one fails alone."""
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        try:
            texts, labels, templates = (_strings(request, name) for name in ("TEXT", "LABELS", "TEMPLATE"))
            if templates is None:
                templates = np.full(texts.shape, self.template, dtype=object)
            if labels.shape[1] == 0:
                raise ValueError("LABELS is empty: give at least one label")
            without = [template for template in templates.flat if "{}" not in template]
            if without:
                raise ValueError(f"TEMPLATE {without[0]!r} has no {{}} for the label")
        except ValueError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        hypotheses = [
            template.replace("{}", label)
            for row, template in zip(labels, templates.flat)  # noqa: B905 (one template per row by signature)
            for label in row
        ]
        text_ids, text_mask = self.tokenizer(list(texts.flat))
        label_ids, label_mask = (part.reshape(*labels.shape, -1) for part in self.tokenizer(hypotheses))
        named = {
            "text_ids__0": text_ids,
            "text_mask__1": text_mask,
            "label_ids__2": label_ids,
            "label_mask__3": label_mask,
        }
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in named.items()])


def _strings(request, name):
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    if tensor is None:
        return None
    tensor = tensor.as_numpy()
    texts = np.empty(tensor.shape, dtype=object)
    for index, value in enumerate(tensor.flat):
        try:
            texts.flat[index] = value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{name} is not UTF-8: {error}") from error
    return texts
