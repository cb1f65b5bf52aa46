"""Tiny models for the local server: each shows one convention or one fault of a served model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper

from workshop.files import sha256_of

NUMERIC = {
    "BOOL": torch.bool,
    "UINT8": torch.uint8,
    "INT8": torch.int8,
    "INT16": torch.int16,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "FP16": torch.float16,
    "FP32": torch.float32,
    "FP64": torch.float64,
}
DELAY = "dynamic_batching { max_queue_delay_microseconds: 200000 preferred_batch_size: [ 8 ] }"


def tensors(role: str, specs: Sequence[tuple[str, str, Sequence[int]]]) -> str:
    """The ``input`` or ``output`` fields of a configuration, from (name, dtype, dims)."""
    return "\n".join(
        f'{role} {{ name: "{name}" data_type: TYPE_{dtype} dims: [ {", ".join(map(str, dims))} ] }}'
        for name, dtype, dims in specs
    )


def write_config(folder: Path, platform: str, inputs, outputs, *, batch: int = 0, extra: str = "") -> Path:
    """Write ``config.pbtxt`` and make the folder of version 1, which is returned."""
    version = folder / "1"
    version.mkdir(parents=True)
    header = f'name: "{folder.name}"\nplatform: "{platform}"\nmax_batch_size: {batch}'
    config = "\n".join([header, tensors("input", inputs), tensors("output", outputs), extra])
    (folder / "config.pbtxt").write_text(config + "\n")
    return version


def parameter(key: str, value: str) -> str:
    """A model parameter of a configuration."""
    return f'parameters {{ key: "{key}" value: {{ string_value: "{value}" }} }}'


def vouch(file: Path) -> None:
    """Write a file's hash beside it, as ``sha256sum`` does."""
    file.with_name(f"{file.name}.sha256").write_text(f"{sha256_of(file)}  {file.name}\n")


def save_torch(repository: Path, name: str, module: torch.nn.Module | str, inputs, outputs, **options) -> None:
    """Script and save a module, or write the given text in its place, with its configuration."""
    version = write_config(repository / name, "pytorch_libtorch", inputs, outputs, **options)
    if isinstance(module, str):
        (version / "model.pt").write_text(module)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.script(module.eval()).save(str(version / "model.pt"))
    vouch(version / "model.pt")


class AddSubtract(torch.nn.Module):
    """Two inputs, two outputs, and a third that tells how many rows ran together."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        rows = torch.full([a.size(0), 1], float(a.size(0)))
        return a + b, a - b, rows


class LookUp(torch.nn.Module):
    """Fails on ids outside 0..9."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(10, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table(ids)


Nine = tuple[
    torch.Tensor,
    torch.Tensor,
    torch.Tensor,
    torch.Tensor,
    torch.Tensor,
    torch.Tensor,
    torch.Tensor,
    torch.Tensor,
    torch.Tensor,
]


class EchoAll(torch.nn.Module):
    """Every numeric dtype through unchanged."""

    def forward(
        self,
        a: torch.Tensor,
        b: torch.Tensor,
        c: torch.Tensor,
        d: torch.Tensor,
        e: torch.Tensor,
        f: torch.Tensor,
        g: torch.Tensor,
        h: torch.Tensor,
        i: torch.Tensor,
    ) -> Nine:
        return a, b, c, d, e, f, g, h, i


class Divide(torch.nn.Module):
    """Its arguments do not commute, so a swap shows."""

    def forward(self, dividend: torch.Tensor, divisor: torch.Tensor) -> torch.Tensor:
        return dividend / divisor


class Shout(torch.nn.Module):
    """Strings in, strings out."""

    def forward(self, texts: list[str]) -> list[str]:
        return [text + "!" for text in texts]


class Mean(torch.nn.Module):
    """Loses the batch axis."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values.mean(0)


class InPlace(torch.nn.Module):
    """Writes into its input, and tells whether gradients and inference mode are on."""

    def forward(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values.add_(1.0)
        return values, torch.tensor([torch.is_grad_enabled(), torch.ones(1).is_inference()])


class ReturnsList(torch.nn.Module):
    """A list of tensors, which the native backend refuses."""

    def forward(self, values: torch.Tensor) -> list[torch.Tensor]:
        return [values, values]


class TakesDict(torch.nn.Module):
    """One dictionary of tensors."""

    def forward(self, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        return tensors["left"] - tensors["right"]


def write_torch_models(repository: Path) -> list[str]:
    """Write the TorchScript models that load; returns their names."""
    row = ("FP32", [-1])
    save_torch(
        repository,
        "add_subtract",
        AddSubtract(),
        [("b__1", *row), ("a__0", *row)],
        [("rows__2", "FP32", [1]), ("sum__0", *row), ("difference__1", *row)],
        batch=8,
        extra=DELAY,
    )
    save_torch(
        repository, "look_up", LookUp(), [("ids__0", "INT64", [-1])], [("v__0", "FP32", [-1, 3])], batch=8, extra=DELAY
    )
    save_torch(
        repository,
        "echo_all",
        EchoAll(),
        [(f"in__{index}", dtype, [-1, 2]) for index, dtype in enumerate(NUMERIC)],
        [(f"out__{index}", dtype, [-1, 2]) for index, dtype in enumerate(NUMERIC)],
    )
    save_torch(
        repository,
        "divide",
        Divide(),
        [("divisor", *row), ("dividend", *row)],
        [("quotient", *row)],
        extra="response_cache { enable: true }",
    )
    save_torch(repository, "shout", Shout(), [("texts__0", "STRING", [-1])], [("loud__0", "STRING", [-1])])
    save_torch(repository, "mean", Mean(), [("values__0", *row)], [("mean__0", *row)], batch=4)
    save_torch(
        repository,
        "tuned",
        InPlace(),
        [("values__0", *row)],
        [("values__0", *row), ("flags__1", "BOOL", [2])],
        extra="\n".join(
            [
                "instance_group [ { count: 2 kind: KIND_CPU } ]",
                'default_model_filename: "other.pt"',
                parameter("INTRA_OP_THREAD_COUNT", "1"),
                parameter("INTER_OP_THREAD_COUNT", "1"),
                parameter("DISABLE_OPTIMIZED_EXECUTION", "true"),
                parameter("INFERENCE_MODE", "false"),
                parameter("ENABLE_NVFUSER", "true"),
            ]
        ),
    )
    (repository / "tuned" / "1" / "model.pt").rename(repository / "tuned" / "1" / "other.pt")
    vouch(repository / "tuned" / "1" / "other.pt")
    wrong = [("sum__0", *row), ("third__5", *row)]
    save_torch(repository, "wrong_count", AddSubtract(), [("a__0", *row), ("b__1", *row)], wrong)
    save_torch(repository, "wrong_dtype", Mean(), [("values__0", "FP32", [-1, 2])], [("mean__0", "INT64", [-1])])
    one = [("values__0", *row)]
    save_torch(repository, "returns_list", ReturnsList(), one, [("a__0", *row), ("b__1", *row)])
    save_torch(repository, "takes_dict", TakesDict(), [("right", *row), ("left", *row)], [("difference__0", *row)])
    return [path.name for path in repository.iterdir()]


def write_broken_torch_models(repository: Path) -> dict[str, str]:
    """Write models that must not load; returns a regular expression for each one's reason."""
    row = ("FP32", [-1])
    save_torch(repository, "corrupt", "this is no zip archive", [("a__0", *row)], [("b__0", *row)])
    save_torch(repository, "bf16_input", Mean(), [("values__0", "BF16", [-1])], [("mean__0", *row)])
    save_torch(repository, "one_input_too_few", Divide(), [("dividend__0", *row)], [("quotient__0", *row)])
    save_torch(repository, "same_position", Divide(), [("a__0", *row), ("b__0", *row)], [("c__0", *row)])
    save_torch(
        repository,
        "bad_parameter",
        Mean(),
        [("values__0", *row)],
        [("mean__0", *row)],
        extra=parameter("INFERENCE_MODE", "perhaps"),
    )
    for name in ("unknown", "swapped"):
        save_torch(repository, name, Mean(), [("values__0", *row)], [("mean__0", *row)])
    (repository / "unknown/1/model.pt.sha256").unlink()
    torch.jit.script(Divide().eval()).save(str(repository / "swapped/1/model.pt"))
    write_config(repository / "no_file", "pytorch_libtorch", [("a__0", *row)], [("b__0", *row)])
    return {
        "corrupt": r"model 'corrupt': .*corrupt/1/model\.pt is not a TorchScript file",
        "unknown": r"model 'unknown': .*unknown/1/model\.pt is of unknown source: .*sha256sum model\.pt > ",
        "swapped": r"model 'swapped': .*swapped/1/model\.pt is not the file that was written",
        "bf16_input": r"input 'values__0': TorchScript models cannot use TYPE_BF16",
        "one_input_too_few": r"forward takes 2 inputs, but the configuration has 1: dividend__0",
        "same_position": r"two tensors claim one position",
        "bad_parameter": r"parameter INFERENCE_MODE must be true, on or 1, or false, off or 0, got 'perhaps'",
        "no_file": r"no file .*no_file/1/model\.pt",
    }


def save_onnx(repository: Path, name: str, node: str, elem_type: int, dims, inputs, outputs, **options) -> None:
    """Save a graph of one node over tensors of one type and shape, with its configuration."""
    version = write_config(repository / name, "onnxruntime_onnx", inputs, outputs, **options)
    graph = helper.make_graph(
        [helper.make_node(node, [spec[0] for spec in inputs], [spec[0] for spec in outputs])],
        name,
        [helper.make_tensor_value_info(spec[0], elem_type, dims) for spec in inputs],
        [helper.make_tensor_value_info(spec[0], elem_type, dims) for spec in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, version / "model.onnx")


def write_onnx_models(repository: Path) -> list[str]:
    """Write the ONNX models that load; returns their names."""
    row, texts = ("FP32", [-1]), ("STRING", [-1])
    save_onnx(
        repository,
        "onnx_add",
        "Add",
        TensorProto.FLOAT,
        ["rows", "columns"],
        [("a", *row), ("b", *row)],
        [("sum", *row)],
        batch=8,
        extra="\n".join([DELAY, parameter("intra_op_thread_count", "1"), "optimization { graph { level: 1 } }"]),
    )
    save_onnx(repository, "onnx_text", "Identity", TensorProto.STRING, ["n"], [("in", *texts)], [("out", *texts)])
    return ["onnx_add", "onnx_text"]


def write_broken_onnx_models(repository: Path) -> dict[str, str]:
    """Write ONNX models that must not load; returns a regular expression for each one's reason."""
    row = ("FP32", [-1])
    graph = ("Add", TensorProto.FLOAT, ["n"])
    save_onnx(repository, "onnx_corrupt", *graph, [("a", *row), ("b", *row)], [("c", *row)])
    (repository / "onnx_corrupt" / "1" / "model.onnx").write_bytes(b"no protobuf")
    save_onnx(repository, "onnx_other_name", *graph, [("a", *row), ("b", *row)], [("c", *row)])
    rewrite(repository / "onnx_other_name" / "config.pbtxt", 'name: "a"', 'name: "first"')
    save_onnx(repository, "onnx_other_type", *graph, [("a", *row), ("b", *row)], [("c", *row)])
    rewrite(
        repository / "onnx_other_type" / "config.pbtxt",
        'name: "b" data_type: TYPE_FP32',
        'name: "b" data_type: TYPE_INT64',
    )
    save_onnx(repository, "onnx_accelerated", *graph, [("a", *row), ("b", *row)], [("c", *row)])
    with (repository / "onnx_accelerated" / "config.pbtxt").open("a") as config:
        config.write('\noptimization { execution_accelerators { gpu_execution_accelerator { name: "tensorrt" } } }\n')
    return {
        "onnx_accelerated": "asks for TensorRT as accelerator, and the instance is on no GPU",
        "onnx_corrupt": r"onnx_corrupt/1/model\.onnx is not an ONNX file",
        "onnx_other_name": r"the ONNX graph has no input 'first', it has a, b",
        "onnx_other_type": r"input 'b' is TYPE_INT64 in the configuration and tensor\(float\) in the ONNX graph",
    }


def rewrite(path: Path, old: str, new: str) -> None:
    """Replace a text that must occur in a file."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def write_ensemble(repository: Path) -> str:
    """Write an ensemble over both backends: (a + b) by TorchScript, then + b by ONNX; returns its name."""
    row = ("FP32", [-1])
    steps = """
ensemble_scheduling {
  step {
    model_name: "add_subtract" model_version: -1
    input_map { key: "a__0" value: "a" } input_map { key: "b__1" value: "b" }
    output_map { key: "sum__0" value: "partial" }
  }
  step {
    model_name: "onnx_add" model_version: -1
    input_map { key: "a" value: "partial" } input_map { key: "b" value: "b" }
    output_map { key: "sum" value: "total" }
  }
}"""
    write_config(
        repository / "add_twice", "ensemble", [("a", *row), ("b", *row)], [("total", *row)], batch=8, extra=steps
    )
    return "add_twice"
