"""The gates of the ONNX export: what they refuse, and that a refused export changes nothing on disk."""

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from workshop.errors import ForbiddenOpError, ModelError, ParityError, RepositoryError
from workshop.export.gates import is_current
from workshop.export.onnx import check_graph, export, export_and_save, export_traced, load_onnx, quantise
from workshop.triton.signature import ModelSignature, TensorSpec

SIGNATURE = ModelSignature(
    "doubler",
    (TensorSpec("x", "FP32", (3,)),),
    (TensorSpec("y", "FP32", (3,)), TensorSpec("total", "FP32", (1,))),
    platform="onnxruntime_onnx",
    max_batch_size=8,
)
EXAMPLE = (torch.ones(2, 3),)
UNLIKE = {
    "one row": (torch.ones(1, 3),),
    "seven rows": (torch.randn(7, 3, generator=torch.Generator().manual_seed(0)),),
}


class Doubler(nn.Module):
    def forward(self, x):
        return x * 2, x.sum(dim=1, keepdim=True)


class Branching(nn.Module):
    """Takes another way when it is exported than when it is called."""

    def forward(self, x):
        return x * (3 if torch.compiler.is_exporting() else 2), x.sum(dim=1, keepdim=True)


def save(model, repository, **options):
    return export_and_save(model, SIGNATURE, EXAMPLE, UNLIKE, repository, source="here", source_sha256="abc", **options)


def test_an_exported_model_comes_with_its_names_configuration_and_sidecar(tmp_path):
    sidecar = save(Doubler().eval(), tmp_path)
    folder = tmp_path / "doubler" / "1"
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.onnx"]
    assert (tmp_path / "doubler" / "config.pbtxt").read_text() == SIGNATURE.config_text()
    assert set(sidecar.parity) == set(UNLIKE)
    session = load_onnx(folder / "model.onnx")
    assert [node.name for node in session.get_outputs()] == ["y", "total"]
    assert is_current(SIGNATURE, tmp_path, source_sha256="abc", precision="fp32")
    with pytest.raises(RepositoryError, match="has a version 1 already"):
        save(Doubler().eval(), tmp_path)


def test_an_example_of_one_row_is_refused():
    with pytest.raises(ParityError, match=r"example rows \[1\], expected at least 2"):
        export(Doubler().eval(), SIGNATURE, (torch.ones(1, 3),))


def test_an_export_that_differs_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ParityError, match="exported and eager differ by"):
        save(Branching().eval(), tmp_path)
    assert list(tmp_path.iterdir()) == []


class Cutting(nn.Module):
    """Drops columns behind the longest row: a size that is known when the values are."""

    def forward(self, x):
        kept = x[:, : (x != 0).sum(dim=1).max()]
        return x * 2, kept.sum(dim=1, keepdim=True) / kept.shape[1]


def test_a_size_that_depends_on_values_stays_free_when_traced(tmp_path):
    example = (torch.tensor([[1.0, 2.0, 3.0], [1.0, 0.0, 0.0]]),)
    inputs = {**UNLIKE, "one column": (torch.tensor([[1.0, 0.0, 0.0]]),)}
    sidecar = export_and_save(
        Cutting().eval(),
        SIGNATURE,
        example,
        inputs,
        tmp_path,
        source="here",
        source_sha256="abc",
        exporter=export_traced,
    )
    assert set(sidecar.parity) == set(inputs)


def graph(domain="", batch="batch", names=("y", "total")):
    nodes = [
        helper.make_node("Identity", ["x"], [names[0]], domain=domain),
        helper.make_node("ReduceSum", ["x"], [names[1]], keepdims=1),
    ]
    tensors = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [batch, s]) for n, s in zip(names, (3, 1), strict=True)
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3])]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.other", 1)]
    return helper.make_model(helper.make_graph(nodes, "g", inputs, tensors), opset_imports=opsets)


@pytest.mark.parametrize(
    ("made", "error", "reason"),
    [
        ({"domain": "com.other"}, ForbiddenOpError, "com.other::Identity"),
        ({"batch": 2}, ParityError, "batch axis of 'x' is frozen"),
        ({"names": ("z", "total")}, ParityError, r"tensors \['z', 'total'\], expected \['y', 'total'\]"),
    ],
)
def test_a_graph_that_would_not_serve_is_refused(made, error, reason):
    with pytest.raises(error, match=reason):
        check_graph(graph(**made), SIGNATURE)


def test_a_broken_graph_is_refused():
    broken = graph()
    broken.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(ModelError, match="checker refuses"):
        check_graph(broken, SIGNATURE)


def test_a_file_that_is_not_onnx_is_named(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"model\.onnx is not a readable ONNX model"):
        load_onnx(tmp_path / "model.onnx")


def test_a_quantised_variant_keeps_names_and_is_smaller(tmp_path):
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(256, 256)

        def forward(self, x):
            return self.linear(x)

    specs = ((TensorSpec("x", "FP32", (256,)),), (TensorSpec("y", "FP32", (256,)),))
    signature = ModelSignature("layer", *specs, platform="onnxruntime_onnx", max_batch_size=8)
    source, target = tmp_path / "a.onnx", tmp_path / "b.onnx"
    onnx.save(export(Layer().eval(), signature, (torch.ones(2, 256),)), source)
    quantise(source, target)
    assert target.stat().st_size < 0.4 * source.stat().st_size
    assert [node.name for node in load_onnx(target).get_inputs()] == ["x"]
