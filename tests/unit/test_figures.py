"""The style that all plots share, the drawing of graphs, and the finder of faults that notebooks are run with."""

import re
from xml.etree import ElementTree

import matplotlib as mpl
import matplotlib.pyplot as plt
import nbformat
import networkx as nx
import numpy as np
import pandas as pd
import pytest
from figure_faults import LEAST_POINTS, faults
from nbformat.v4 import new_code_cell, new_notebook, new_output
from playwright.sync_api import sync_playwright

from scripts.check_docs import find_chromium
from workshop.figures import PAGE, PALETTE, draw_graph, side_by_side, use_style
from workshop.figures.graph import FONT
from workshop.runner.html import export_html

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def styled():
    with mpl.rc_context():
        use_style()
        yield
        plt.close("all")


@pytest.fixture
def family():
    graph = nx.Graph([("a", "b"), ("a", "c")])
    for node, group in {"a": "one", "b": "one", "c": "two < three"}.items():
        graph.nodes[node].update(label=f"node {node}", group=group)
    return graph


# --- style ----------------------------------------------------------------------------------------------------
def test_no_size_of_the_style_is_smaller_than_eight_points(styled):
    sizes = {
        name: mpl.rcParams[name] for name in mpl.rcParams if re.search(r"(font|title|label)_?size$|^font.size", name)
    }
    named = {name: size for name, size in sizes.items() if isinstance(size, int | float)}
    assert min(named.values()) >= LEAST_POINTS, named
    assert mpl.rcParams["figure.figsize"][0] <= PAGE


def _linear(colour):
    values = np.array(mpl.colors.to_rgb(colour))
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


# Viénot, Brettel and Mollon (1999): what dichromats see, in linear RGB
SEEN = {
    "protanopia": np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
    "deuteranopia": np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
}


@pytest.mark.parametrize("seen", SEEN.values(), ids=list(SEEN))
def test_colours_stay_apart_for_colour_blind_readers(styled, seen):
    cycle = [step["color"] for step in mpl.rcParams["axes.prop_cycle"]]
    assert [f"#{colour.strip('#')}".upper() for colour in cycle] == list(PALETTE)
    colours = np.clip([seen @ _linear(colour) for colour in PALETTE], 0, 1) ** (1 / 2.4)
    distances = np.linalg.norm(colours[:, None] - colours[None], axis=2)[np.triu_indices(len(PALETTE), 1)]
    assert distances.min() > 0.1


# --- faults ---------------------------------------------------------------------------------------------------
def test_a_plot_in_the_style_has_no_faults(styled):
    _, axis = plt.subplots()
    axis.loglog([1, 10, 1000], [1, 2, 300], label="line")
    axis.set(xlabel="x", ylabel="y", title="title")
    axis.legend()
    assert faults(plt.gcf()) == []


def test_bars_side_by_side_say_their_numbers_and_have_no_faults(styled):
    rows = ["one instance,\nbatching, a delay of some milliseconds", "20", "none"]
    measures = {"texts a second": [12345.6, 0.1234, 0], "p95 in ms": [1.0, 99.96, 250], "failed, %": [0, 0, 0]}
    side_by_side(pd.DataFrame(measures, index=pd.Index(rows, name="setting")))
    texts = [[text.get_text() for text in axes.texts] for axes in plt.gcf().axes]
    assert texts == [["12,346", "0.123", "0"], ["1", "100", "250"], ["0", "0", "0"]]
    assert [label.get_text() for label in plt.gcf().axes[0].get_yticklabels()] == rows
    assert [axes.get_xlabel() for axes in plt.gcf().axes] == list(measures)
    assert faults(plt.gcf()) == []


@pytest.mark.parametrize(
    ("draw", "fault"),
    [
        (lambda axis: axis.text(0.5, 0.5, "small", fontsize=7), "'small' has 7.0 pt"),
        (lambda axis: (axis.text(0.5, 0.5, "one"), axis.text(0.5, 0.5, "other")), "'one' lies on 'other'"),
        (lambda axis: axis.figure.set_figwidth(12), "12.0 inches wide"),
        (lambda axis: axis.set(xscale="log", xlim=(20, 90), xlabel="n", xticks=[50]), "logarithmic axis ('n')"),
        (lambda axis: axis.set_xticks(np.linspace(0, 1, 60)), "lies on"),
    ],
)
def test_faults_are_found(styled, draw, fault):
    _, axis = plt.subplots()
    draw(axis)
    axis.minorticks_off()
    assert any(fault in line for line in faults(plt.gcf())), faults(plt.gcf())


# --- graphs ---------------------------------------------------------------------------------------------------
def test_a_drawing_is_a_whole_picture_without_its_script(family):
    drawing = draw_graph(family, nx.circular_layout(family), title="A & B")
    picture = ElementTree.fromstring(drawing.svg)
    texts = ["".join(text.itertext()) for text in picture.iter(f"{SVG}text")]
    assert texts == ["A & B", "node a", "node b", "node c", "one", "two < three"]
    assert len(list(picture.iter(f"{SVG}polyline"))) == family.number_of_edges()
    assert len(list(picture.iter(f"{SVG}circle"))) == len(family) + 2  # and the legend
    assert drawing.hidden == ()
    assert FONT * 0.75 >= LEAST_POINTS
    assert "script" not in drawing.svg


def test_a_drawing_needs_no_network_and_little_room(family):
    bundle = _bundle(family)
    assert set(bundle) == {"text/html", "image/svg+xml", "text/plain"}
    assert set(re.findall(r"https?://[^\s\"')]+", bundle["text/html"])) == {"http://www.w3.org/2000/svg"}
    assert len(bundle["text/html"]) < 10_000


def test_labels_do_not_lie_on_each_other_and_those_without_room_are_named():
    graph = nx.complete_graph(30)
    for node in graph:
        graph.nodes[node]["label"] = f"a long label of node {node}"
    drawing = draw_graph(graph, {node: (0.01 * node, 0) for node in graph}, title="crowd")
    shown = 30 - len(drawing.hidden)
    assert 2 <= shown < 30
    assert drawing.svg.count('class="crowded"') == len(drawing.hidden)


def test_edges_of_a_directed_graph_have_arrows_and_boxes_hold_their_label():
    graph = nx.DiGraph([("a", "b")])
    nx.set_node_attributes(graph, {"a": {"label": "A", "box": True}, "b": {"label": "B", "box": True}})
    svg = draw_graph(graph, {"a": (0, 0), "b": (1, 0)}, title="t").svg
    assert svg.count("marker-mid") == 1
    assert svg.count('text-anchor="middle"') == 2


def test_a_node_without_a_place_is_an_error(family):
    with pytest.raises(KeyError, match="c"):
        draw_graph(family, {"a": (0, 0), "b": (1, 1)}, title="t")


@pytest.mark.skipif(find_chromium() is None, reason="needs Chromium")
def test_a_page_shows_a_drawing_without_scripts_and_with_them_it_answers_to_the_pointer(family, tmp_path):
    cell = new_code_cell(outputs=[new_output("display_data", data=_bundle(family))])
    nbformat.write(new_notebook(cells=[cell]), tmp_path / "drawn.ipynb")
    address = export_html(tmp_path / "drawn.ipynb", tmp_path).as_uri()
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        still = browser.new_context(java_script_enabled=False).new_page()
        still.goto(address)
        assert still.locator("svg.graph .node text").all_text_contents() == ["node a", "node b", "node c"]
        page, errors = browser.new_page(), []
        page.on("pageerror", lambda error: errors.append(error))
        page.goto(address)
        node = page.locator("svg.graph .node").nth(1)
        node.locator("circle").hover()
        assert page.locator("svg.graph .node.near text").all_text_contents() == ["node a", "node b"]
        before, box = node.get_attribute("transform"), node.locator("circle").bounding_box()
        page.mouse.down()
        page.mouse.move(box["x"] - 30, box["y"] + 30)
        page.mouse.up()
        assert node.get_attribute("transform") != before
        assert errors == []
        browser.close()


def _bundle(graph):
    return draw_graph(graph, nx.circular_layout(graph), title="A")._repr_mimebundle_()
