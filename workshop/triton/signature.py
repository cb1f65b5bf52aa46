"""A model's signature: the one source of its ``config.pbtxt``, its trace inputs and the client's checks.

Tensor names follow the naming convention of Triton's LibTorch backend, ``<name>__<index>``:
https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/pytorch_backend/README.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
from google.protobuf import text_format
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from tritonclient.grpc import model_config_pb2 as pb
from tritonclient.utils import triton_to_np_dtype

from workshop.errors import RepositoryError
from workshop.files import write_text
from workshop.triton.artefact import LOCAL_CONFIG

# Triton's backend splits at the first double underscore, so there must be one only
LIBTORCH_NAME = re.compile(r"^(?:(?!__)\w)+__\d+$")
# parameters of a configuration that hold a tensor's limits: <tensor>.below, <tensor>.longest
_LIMIT = re.compile(r"^(?P<tensor>.+)\.(?P<limit>below|longest)$")
# parameter of a model that a starting server leaves alone
_ON_REQUEST = ("load", "on request")


@dataclass(frozen=True)
class TensorSpec:
    """One input or output tensor.

    Attributes:
        name: ``<name>__<index>`` for a TorchScript model, any identifier for a Python or ensemble model.
        dtype: Triton's short name, for example ``INT64``, ``FP32`` or ``BYTES``.
        dims: sizes without the batch axis; ``-1`` where the size is free.
        optional: a request may leave the input out.
        format: ``FORMAT_NCHW`` or ``FORMAT_NHWC`` for an input that is a picture, otherwise empty.
        label_filename: file in the model's folder with one label a line, for an output that holds one score a class;
            clients may then ask Triton for the best classes by name.
        below: values are whole numbers from 0 to one less than this, token ids for instance; ``None``: anything.
        longest: largest size of the last axis, where its dim is free; ``None``: anything.
    """

    name: str
    dtype: str
    dims: tuple[int, ...]
    optional: bool = False
    format: str = ""
    label_filename: str = ""
    below: int | None = None
    longest: int | None = None

    @property
    def limits(self) -> dict[str, int]:
        """Those limits that are set, by the name of the configuration's parameter that holds them."""
        named = {"below": self.below, "longest": self.longest}
        return {f"{self.name}.{limit}": value for limit, value in named.items() if value is not None}

    @property
    def numpy_dtype(self) -> np.dtype:
        """NumPy's dtype of the tensor; ``object`` for ``BYTES``."""
        return np.dtype(triton_to_np_dtype(self.dtype))


@dataclass(frozen=True)
class EnsembleStep:
    """One model of an ensemble.

    Attributes:
        model: name of the served model.
        inputs: the model's input name to the ensemble tensor that feeds it.
        outputs: the model's output name to the ensemble tensor it fills.
    """

    model: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class ModelSignature:
    """What a served model takes and gives.

    Attributes:
        name: the model's name and its folder in the repository.
        inputs: inputs in the order of the model's ``forward``.
        outputs: outputs in the order the model returns them.
        platform: ``pytorch_libtorch``, ``onnxruntime_onnx``, ``torch_aoti``, ``tensorrt_plan``, ``ensemble``, or empty
            when ``backend`` is given.
        backend: ``python`` for models written as ``model.py``, ``openvino``, otherwise empty.
        local_backend: backend of the local stack for a platform that its server does not know; such a model has a
            second configuration, ``configs/local.pbtxt``, which differs in that alone.
        accelerator: parameters of ONNX Runtime's TensorRT provider, which then runs the graph where Triton placed the
            model on a GPU; ``None``: the backend's own kernels.
        on_request: a server that starts leaves the model out; it is loaded by name.
        max_batch_size: the batch limit; 0 means tensors carry no batch axis.
        queue_delay_us: microseconds the dynamic batcher may hold a request to fill a batch; ``None``: no batching.
        instances: model copies that run side by side; the kind is left to Triton, so that GPU and CPU share the file.
        on_processor: the file runs on a processor only, so its instances stay there where the server has a GPU.
        parameters: the model's own settings, handed to its backend as text.
        steps: the models an ensemble runs.
        decoupled: a request may get any number of responses, which come as a stream.
        response_cache: let Triton answer repeated requests from its cache where the server has one.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    platform: str = ""
    backend: str = ""
    max_batch_size: int = 0
    queue_delay_us: int | None = None
    instances: int | None = None
    parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    steps: tuple[EnsembleStep, ...] = ()
    decoupled: bool = False
    response_cache: bool = False
    local_backend: str = ""
    accelerator: Mapping[str, str] | None = None
    on_request: bool = False
    on_processor: bool = False

    def __post_init__(self) -> None:
        if self.platform == "pytorch_libtorch":
            for tensor in (*self.inputs, *self.outputs):
                if not LIBTORCH_NAME.match(tensor.name):
                    raise RepositoryError(
                        f"model {self.name!r}: tensor {tensor.name!r} does not follow LibTorch's <name>__<index>",
                        hint="use one double underscore, before the position: "
                        f"{tensor.name.partition('__')[0].rstrip('_')}__0",
                    )

    def to_config(self) -> pb.ModelConfig:
        """The signature as Triton's own ``ModelConfig`` message."""
        config = pb.ModelConfig(
            name=self.name, platform=self.platform, backend=self.backend, max_batch_size=self.max_batch_size
        )
        for spec in self.inputs:
            config.input.add(
                name=spec.name,
                data_type=_data_type(spec),
                dims=spec.dims,
                optional=spec.optional,
                format=spec.format or "FORMAT_NONE",
            )
        for spec in self.outputs:
            config.output.add(
                name=spec.name, data_type=_data_type(spec), dims=spec.dims, label_filename=spec.label_filename
            )
        if self.queue_delay_us is not None:
            config.dynamic_batching.max_queue_delay_microseconds = self.queue_delay_us
        if self.instances is not None:
            group = config.instance_group.add(count=self.instances)
            if self.on_processor:
                group.kind = group.KIND_CPU
        limits = {key: str(value) for spec in self.inputs for key, value in spec.limits.items()}
        on_request = dict([_ON_REQUEST]) if self.on_request else {}
        for key, value in {**self.parameters, **limits, **on_request}.items():
            config.parameters[key].string_value = value
        for step in self.steps:
            config.ensemble_scheduling.step.add(
                model_name=step.model, model_version=-1, input_map=step.inputs, output_map=step.outputs
            )
        if self.decoupled:
            config.model_transaction_policy.decoupled = True
        if self.response_cache:
            config.response_cache.enable = True
        if self.accelerator is not None:
            accelerators = config.optimization.execution_accelerators
            accelerators.gpu_execution_accelerator.add(name="tensorrt", parameters=self.accelerator)
        return config

    def config_text(self, *, local: bool = False) -> str:
        """The text of ``config.pbtxt``, or with ``local`` of ``configs/local.pbtxt``.

        A batch limit of 0 is written out, since Triton would guess otherwise.
        """
        config = self.to_config()
        if local:
            config.platform, config.backend = "", self.local_backend
        text = text_format.MessageToString(config)
        return text if self.max_batch_size else f"max_batch_size: 0\n{text}"

    def input(self, name: str) -> TensorSpec:
        """The input called ``name``."""
        return next(spec for spec in self.inputs if spec.name == name)


def _data_type(spec: TensorSpec) -> int:
    return pb.DataType.Value("TYPE_STRING" if spec.dtype == "BYTES" else f"TYPE_{spec.dtype}")


def is_on_request(config: pb.ModelConfig) -> bool:
    """Whether a server that starts leaves the model out."""
    name, value = _ON_REQUEST
    return name in config.parameters and config.parameters[name].string_value == value


def parse_config(text: str, source: str = "config.pbtxt") -> pb.ModelConfig:
    """Read the text of a ``config.pbtxt``.

    Raises:
        RepositoryError: the text is not a model configuration; the message names line and column, or the number that
            is too large for an enumeration.
    """
    try:
        return text_format.Parse(text, pb.ModelConfig())
    except (text_format.ParseError, ValueError) as error:  # protobuf lets ValueError of enumerations through
        raise RepositoryError(
            f"{source} is not a Triton model configuration: {error}",
            hint="python scripts/model_repository.py generate",
        ) from error


def read_signature(config: pb.ModelConfig) -> ModelSignature:
    """The signature of a model from its configuration, as a file or a server tells it.

    Platform and instances are the server's business and left out.

    Raises:
        RepositoryError: a tensor's dtype or format is a number that this client has no name for.
    """
    parameters = {key: value.string_value for key, value in config.parameters.items()}
    if is_on_request(config):
        del parameters[_ON_REQUEST[0]]
    names = {tensor.name for tensor in config.input}
    limits: dict[str, dict[str, int]] = {name: {} for name in names}
    for key in list(parameters):
        match = _LIMIT.match(key)
        if match and match["tensor"] in names and parameters[key].isdecimal():
            limits[match["tensor"]][match["limit"]] = int(parameters.pop(key))

    def named(enum: EnumTypeWrapper, value: int, tensor: str) -> str:
        if value not in enum.values():
            raise RepositoryError(
                f"model {config.name!r}: tensor {tensor!r} has an unknown {enum.DESCRIPTOR.name} {value}"
            )
        return enum.Name(value)

    def dtype(tensor: pb.ModelInput | pb.ModelOutput) -> str:
        kind = named(pb.DataType, tensor.data_type, tensor.name).removeprefix("TYPE_")
        return "BYTES" if kind == "STRING" else kind

    def layout(tensor: pb.ModelInput) -> str:
        return (
            ""
            if tensor.format == pb.ModelInput.FORMAT_NONE
            else named(pb.ModelInput.Format, tensor.format, tensor.name)
        )

    inputs = [
        TensorSpec(t.name, dtype(t), tuple(t.dims), t.optional, format=layout(t), **limits[t.name])
        for t in config.input
    ]
    outputs = [TensorSpec(t.name, dtype(t), tuple(t.dims), label_filename=t.label_filename) for t in config.output]
    return ModelSignature(
        name=config.name,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        max_batch_size=config.max_batch_size,
        parameters=parameters,
        on_request=is_on_request(config),
        steps=tuple(
            EnsembleStep(step.model_name, dict(step.input_map), dict(step.output_map))
            for step in config.ensemble_scheduling.step
        ),
    )


def write_config(signature: ModelSignature, repository: Path) -> Path:
    """Write the model's ``config.pbtxt``, and the local stack's where it has one, unless they are there with the same
    text; returns the path of the first.
    """
    path = repository / signature.name / "config.pbtxt"
    texts = {path: signature.config_text()}
    if signature.local_backend:
        texts[path.parent / "configs" / f"{LOCAL_CONFIG}.pbtxt"] = signature.config_text(local=True)
    for place, text in texts.items():
        if not place.is_file() or place.read_text() != text:
            write_text(place, text)
    return path
