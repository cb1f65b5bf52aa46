"""One sentence model in many served forms: the same signature, other files and runtimes. Without torch.

Every form takes token ids and mask and gives one vector a text, so ``TextEmbedder(client, form.model.name)`` works with
each. A starting server leaves them out, since they are all the same model: load the one you want by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from workshop.text.encoding import TextEncoding
from workshop.text.signatures import MINILM, sentence_bert_signature
from workshop.triton.signature import ModelSignature

PREFIX = "sentence_"
# of a TensorRT plan: smallest, commonest and largest batch, and length in tokens; the largest are the signature's own
PLAN_ROWS, PLAN_LENGTHS = (1, 32), (1, 64)


@dataclass(frozen=True)
class Form:
    """One form of the sentence model.

    Attributes:
        name: what a parameter calls it.
        runtime: what runs it, in words.
        precision: ``fp32``, ``bf16``, ``fp16`` or ``int8``; of what is multiplied, the answer is float32 always.
        model: the served model.
        device: ``cpu``: the local stack serves it; ``gpu``: a container on a machine with a GPU does.
    """

    name: str
    runtime: str
    precision: str
    model: ModelSignature
    device: str = "cpu"


def sentence_forms(encoding: TextEncoding = MINILM) -> Mapping[str, Form]:
    """Every form, by name, for a model that encodes texts so."""
    forms = [
        _form("torchscript_fp32", "TorchScript", encoding, platform="pytorch_libtorch"),
        _form("torchscript_bf16", "TorchScript", encoding, platform="pytorch_libtorch"),
        _form("onnx_fp32", "ONNX Runtime", encoding, platform="onnxruntime_onnx"),
        _form("onnx_int8", "ONNX Runtime", encoding, platform="onnxruntime_onnx"),
        _form("onnx_int8_selective", "ONNX Runtime", encoding, platform="onnxruntime_onnx"),
        _form("openvino_fp32", "OpenVINO", encoding, platform="", backend="openvino"),
        _form("openvino_bf16", "OpenVINO", encoding, {"HINT_BF16": "YES"}, platform="", backend="openvino"),
        _compiled("aoti_fp32", encoding),
        _form("tensorrt_fp16", "TensorRT", encoding, device="gpu", platform="tensorrt_plan"),
        _form(
            "onnx_tensorrt_fp16",
            "ONNX Runtime with TensorRT",
            encoding,
            device="gpu",
            platform="onnxruntime_onnx",
            accelerator=MappingProxyType({"precision_mode": "FP16", "max_workspace_size_bytes": str(2 << 30)}),
        ),
    ]
    return MappingProxyType({form.name: form for form in forms})


def _form(
    name: str,
    runtime: str,
    encoding: TextEncoding,
    parameters: Mapping[str, str] = MappingProxyType({}),
    *,
    device: str = "cpu",
    **changes: object,
) -> Form:
    whole = sentence_bert_signature(encoding)
    model = replace(
        whole,
        name=PREFIX + name,
        parameters={**whole.parameters, **parameters},
        on_request=True,
        **changes,
    )
    precision = next(word for word in name.split("_") if word in ("fp32", "bf16", "fp16", "int8"))
    return Form(name, runtime, precision, model, device)


def _compiled(name: str, encoding: TextEncoding) -> Form:
    """A package of ahead-of-time Inductor: Triton knows its tensors by their places in the call."""
    form = _form(name, "AOTInductor", encoding, platform="torch_aoti", local_backend="torch_aoti", on_processor=True)
    model = replace(
        form.model,
        inputs=tuple(replace(spec, name=f"ARGS[{place}]") for place, spec in enumerate(form.model.inputs)),
        outputs=tuple(replace(spec, name=f"RESULT[{place}]") for place, spec in enumerate(form.model.outputs)),
    )
    return replace(form, model=model)
