"""An ONNX graph as a picture: every node once, edges with shapes, and a part of the graph by itself."""

import xml.etree.ElementTree as ET

import onnx
import pytest
from onnx import TensorProto, helper

from workshop.export.onnx_picture import COLOURS, graph_svg

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def model():
    """Three nodes in a row: a product with a weight, a softmax, and places whose number only the run knows."""
    nodes = [
        helper.make_node("MatMul", ["pixels", "weight"], ["product"]),
        helper.make_node("Softmax", ["product"], ["shares"]),
        helper.make_node("NonZero", ["shares"], ["places"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("places", TensorProto.INT64, [2, None])],
        [helper.make_tensor("weight", TensorProto.FLOAT, (4, 3), range(12))],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def texts(svg):
    return [element.text for element in ET.fromstring(svg).iter(f"{SVG}text")]


def test_every_node_and_input_is_drawn_once_with_its_colour(model):
    svg = graph_svg(model)
    assert sorted(set(texts(svg)) & {"pixels", "MatMul", "Softmax", "NonZero", "weight"}) == [
        "MatMul",
        "NonZero",
        "Softmax",
        "pixels",
    ]
    fills = [box.get("fill") for box in ET.fromstring(svg).iter(f"{SVG}rect")]
    assert len(fills) == 4
    assert COLOURS["MatMul"] in fills
    assert COLOURS["Softmax"] in fills


def test_edges_carry_their_shapes(model):
    assert {"batch×4", "batch×3"} <= set(texts(graph_svg(model)))
    assert len(list(ET.fromstring(graph_svg(model)).iter(f"{SVG}line"))) == 3


def test_a_size_that_only_the_run_knows_is_a_question_mark(model):
    tail = helper.make_node("Transpose", ["places"], ["final"])
    model.graph.node.append(tail)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("final", TensorProto.INT64, None))
    assert "2×?" in texts(graph_svg(model))


def test_a_part_of_the_graph_is_drawn_by_itself(model):
    assert "MatMul" not in texts(graph_svg(model, first=1))
    assert "pixels" not in texts(graph_svg(model, first=1))
    assert "Softmax" not in texts(graph_svg(model, count=1))


def test_names_cannot_break_the_picture():
    graph = helper.make_graph(
        [helper.make_node("Relu", ["a<b"], ["c"])],
        "odd",
        [helper.make_tensor_value_info("a<b", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, [1])],
    )
    assert "a<b" in texts(graph_svg(onnx.ModelProto.FromString(helper.make_model(graph).SerializeToString())))
