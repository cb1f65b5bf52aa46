"""Make the sentence model's forms ready to serve: each exported from the same weights, through the same gates."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from workshop.errors import ModelError, RepositoryError
from workshop.export import aoti, openvino, tensorrt
from workshop.export.gates import TOLERANCES, Inputs, Provenance, is_current, place
from workshop.export.onnx import TOLERANCE as ONNX_TOLERANCE
from workshop.export.onnx import as_exported, check_graph, export_traced
from workshop.export.onnx_int8 import Feed, Progress, Selection, quantise_graph, select_matrices, sensitivities
from workshop.export.torchscript import trace_and_save
from workshop.settings import Settings
from workshop.text.embedder import batches_by_length
from workshop.text.encoding import TOKENIZER_FILE
from workshop.text.forms import PLAN_LENGTHS, PLAN_ROWS, Form, sentence_forms
from workshop.text.prepare import EXAMPLE_TEXTS, sentence_inputs, sentence_parity_inputs, sentence_source, whole_outputs
from workshop.text.sentence_bert import SentenceBert, load_sentence_bert
from workshop.triton.artefact import Sidecar, read_sidecar, version_folder
from workshop.triton.signature import ModelSignature, write_config

# a length that no padded row has, so that it is seen to be free
ODD_LENGTH = 7
LEAST_CALIBRATION_OVERLAP = 0.97
SENSITIVITY_SHARE = 4
"""A matrix is measured by one in so many of the calibration texts; all of them choose how many are kept."""


def placed(repository: Path, form: Form) -> Sidecar | None:
    """The sidecar of a form in the repository; ``None`` where the form was not made, or by another version."""
    try:
        return read_sidecar(version_folder(repository, form.model.name, 1))
    except RepositoryError:
        return None


class FormMaker:
    """Makes forms of one sentence model; what several forms need is made once.

    Args:
        settings: source of the model, and the repository.
        calibration: texts by which the selective int8 form chooses; others should judge it.
        progress: called with the number of matrices measured and of all.

    Raises:
        ModelSourceError: the weights are not to be had.
    """

    def __init__(
        self, settings: Settings, calibration: Sequence[str] = (), *, progress: Progress | None = None
    ) -> None:
        self.settings = settings
        self.repository = settings.model_repository
        self.source = sentence_source(settings)
        self.tokenizer = self.source.tokenizer()
        self.forms = sentence_forms(self.source.encoding)
        self.calibration = tuple(calibration)
        self.progress = progress

    def make(self, name: str, *, force: bool = False) -> Sidecar:
        """Export a form and place it in the repository, unless the repository holds the same one.

        Args:
            name: one of ``sentence_forms``.
            force: export again although the repository holds it.

        Raises:
            ModelError: there is no such form, it is built elsewhere, or its runtime or compiler is not installed.
            TraceRefusedError: the form fails a gate; the repository keeps what it had of it, and all other forms.
        """
        form = self.forms.get(name)
        if form is None or form.device != "cpu":
            known = [known.name for known in self.forms.values() if known.device == "cpu"]
            raise ModelError(
                f"no form {name!r} is made here, there are {', '.join(known)}",
                hint="TensorRT plans are built on the GPU that serves them: scripts/build_tensorrt.sh",
            )
        runtime, settings = name.partition("_")[0], self._settings(form)
        if not force and is_current(
            form.model, self.repository, source_sha256=self.source.sha256, precision=form.precision, settings=settings
        ):
            found = placed(self.repository, form)
            if found is not None:
                return found
        return {
            "torchscript": self._torchscript,
            "onnx": self._onnx,
            "openvino": self._openvino,
            "aoti": self._aoti,
        }[runtime](form, settings)

    def prepare_plan(self, folder: Path) -> str:
        """Write what ``scripts/build_tensorrt.sh`` builds a TensorRT plan from, and place the same graph for ONNX
        Runtime's TensorRT provider.

        Args:
            folder: the build's work folder.

        Returns:
            What was done, in words.

        Raises:
            TraceRefusedError: the FP16 graph fails a gate; nothing was written.
        """
        plan, accelerated = self.forms["tensorrt_fp16"].model, self.forms["onnx_tensorrt_fp16"].model
        longest = self.source.encoding.max_tokens
        graph = tensorrt.write_work(
            load_sentence_bert(self.source, "fp16"),
            self.eager,
            plan,
            self.example,
            self.parity_inputs,
            folder,
            rows=(*PLAN_ROWS, plan.max_batch_size),
            lengths=(PLAN_LENGTHS[0], min(PLAN_LENGTHS[1], longest), longest),
        )
        self.place_graph(graph, accelerated, "fp16", {})
        write_config(plan, self.repository)
        return f"{folder}: FP16 graph, options and {len(self.parity_inputs)} cases; {accelerated.name} placed"

    def place_plan(self, folder: Path, target: dict[str, str]) -> Sidecar:
        """Check a built plan's answers, and place it; arguments and errors as of ``tensorrt.place_plan``."""
        return tensorrt.place_plan(
            self.eager,
            self.forms["tensorrt_fp16"].model,
            self.parity_inputs,
            folder,
            self.repository,
            target=target,
            **self._common(),
        )

    # --- what several forms need ------------------------------------------------------------------------------
    @cached_property
    def eager(self) -> SentenceBert:
        """The model in float32, with which every form is compared."""
        return load_sentence_bert(self.source, "fp32")

    @cached_property
    def example(self) -> Inputs:
        """Inputs to export with."""
        return sentence_inputs(self.tokenizer, EXAMPLE_TEXTS)

    @cached_property
    def parity_inputs(self) -> dict[str, Inputs]:
        """Inputs unlike the example in rows and length, one of a length that no padded row has."""
        inputs = sentence_parity_inputs(self.tokenizer)
        odd = tuple(part[:3, :ODD_LENGTH].contiguous() for part in inputs["seven rows"])
        return {**inputs, "odd length": odd}

    @cached_property
    def graph(self) -> onnx.ModelProto:
        """The model as ONNX in float32, checked; its tensors are called as in the TorchScript forms."""
        signature = self.forms["onnx_fp32"].model
        graph = export_traced(self.eager, signature, self.example)
        check_graph(graph, signature)
        return graph

    @cached_property
    def selection(self) -> Selection:
        """Which matrices the selective int8 form leaves in float32; measuring takes a while."""
        if not self.calibration:
            raise ModelError("the selective int8 form needs calibration texts", hint="FormMaker(settings, texts)")
        few = [
            tuple(torch.from_numpy(part) for part in feed.values())
            for feed in self.feeds(self.calibration[::SENSITIVITY_SHARE])
        ]
        loss = sensitivities(self.eager, few, progress=self.progress)
        return select_matrices(self.graph, loss, self.feeds(self.calibration), LEAST_CALIBRATION_OVERLAP)

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """What the float32 model makes of texts: float32 ``[texts, width]``."""
        vectors = np.empty((len(texts), self.source.encoding.width), dtype=np.float32)
        for group, inputs in self._batches(texts):
            with torch.inference_mode():
                vectors[group] = self.eager(*map(torch.from_numpy, inputs)).numpy()
        return vectors

    def feeds(self, texts: Sequence[str]) -> list[Feed]:
        """Texts as inputs of the graph, those of like length together."""
        names = [spec.name for spec in self.forms["onnx_fp32"].model.inputs]
        return [dict(zip(names, inputs, strict=True)) for _, inputs in self._batches(texts)]

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]]:
        """Positions of texts of like length, with their padded ids and mask."""
        ids = self.tokenizer.encode(texts)
        for group in batches_by_length([len(row) for row in ids], 64, self.tokenizer.padded_length):
            yield group, self.tokenizer.pad([ids[row] for row in group])

    # --- one way for each runtime -----------------------------------------------------------------------------
    def _settings(self, form: Form) -> dict[str, str]:
        if form.name.startswith("openvino"):
            return {"openvino": openvino.version()}
        if form.name.startswith("aoti"):
            return aoti.here()
        if form.name == "onnx_int8_selective":
            return self._selection(form)
        return {}

    def _selection(self, form: Form) -> dict[str, str]:
        """What the selective form keeps, taken from the sidecar where the same texts chose it."""
        chosen_by = {
            "calibration": hashlib.sha256("\0".join(self.calibration).encode()).hexdigest(),
            "least_overlap": str(LEAST_CALIBRATION_OVERLAP),
        }
        found = placed(self.repository, form)
        if found and found.source_sha256 == self.source.sha256 and chosen_by.items() <= found.settings.items():
            return found.settings
        return {**chosen_by, **self.selection.to_settings()}

    def _weights(self, precision: str) -> SentenceBert:
        return self.eager if precision == "fp32" else load_sentence_bert(self.source, precision)

    def _common(self) -> dict[str, Any]:
        return {
            "source": self.source.name,
            "source_sha256": self.source.sha256,
            "files": {TOKENIZER_FILE: self.source.tokenizer_file},
            "replace": True,
        }

    def _torchscript(self, form: Form, settings: dict[str, str]) -> Sidecar:
        return trace_and_save(
            self._weights(form.precision),
            form.model,
            self.example,
            self.parity_inputs,
            self.repository,
            precision=form.precision,
            settings=settings,
            whole=whole_outputs(self._weights, self.parity_inputs, form.precision),
            **self._common(),
        )

    def _onnx(self, form: Form, settings: dict[str, str]) -> Sidecar:
        graph = self.graph
        if form.precision == "int8":
            kept = Selection.from_settings(settings).kept if "kept" in settings else ()
            graph = quantise_graph(graph, kept=kept)
            check_graph(graph, form.model)
        return self.place_graph(graph, form.model, form.precision, settings)

    def place_graph(
        self, graph: onnx.ModelProto, signature: ModelSignature, precision: str, settings: dict[str, str]
    ) -> Sidecar:
        """Hold a graph against the float32 model at the gates of ``precision``, and place it as ``signature``.

        Raises:
            TraceRefusedError: it fails; the repository keeps what it had.
        """
        common = self._common()
        return place(
            self.eager,
            signature,
            lambda: as_exported(graph, signature),
            self.parity_inputs,
            self.repository,
            Provenance(common["source"], common["source_sha256"], precision, settings, common["files"]),
            tolerance=max(ONNX_TOLERANCE, TOLERANCES[precision]),
            version=1,
            replace=True,
        )

    def _openvino(self, form: Form, settings: dict[str, str]) -> Sidecar:
        return openvino.convert_and_save(
            self.eager,
            form.model,
            self.graph,
            self.parity_inputs,
            self.repository,
            precision=form.precision,
            settings=settings,
            **self._common(),
        )

    def _aoti(self, form: Form, settings: dict[str, str]) -> Sidecar:
        return aoti.compile_and_save(
            self._weights(form.precision),
            form.model,
            self.example,
            self.parity_inputs,
            self.repository,
            precision=form.precision,
            settings=settings,
            **self._common(),
        )
