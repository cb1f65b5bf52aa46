"""Named graphs with their vertices and edges, through python-arango."""

from __future__ import annotations

import pytest
from arango.exceptions import (
    ArangoServerError,
    CollectionDeleteError,
    EdgeDefinitionCreateError,
    EdgeDefinitionDeleteError,
    GraphCreateError,
    GraphDeleteError,
    GraphPropertiesError,
    VertexCollectionCreateError,
    VertexCollectionDeleteError,
)
from arango.request import Request


def definition(edges: str, sources: list[str], targets: list[str]) -> dict:
    return {"edge_collection": edges, "from_vertex_collections": sources, "to_vertex_collections": targets}


def errors(raised: pytest.ExceptionInfo[ArangoServerError]) -> tuple[int, int]:
    return raised.value.http_code, raised.value.error_code


@pytest.fixture
def school(db):
    """Teachers teach lectures; rooms are orphans."""
    graph = db.create_graph(
        "school",
        edge_definitions=[definition("teach", ["teachers"], ["lectures"])],
        orphan_collections=["rooms"],
    )
    yield graph
    db.delete_graph("school", drop_collections=True, ignore_missing=True)


def test_graph_life(db, school):
    assert db.has_graph("school")
    assert not db.has_graph("none")
    (listed,) = db.graphs()
    assert listed["name"] == "school"
    assert listed["orphan_collections"] == ["rooms"]
    assert school.properties()["edge_definitions"] == [definition("teach", ["teachers"], ["lectures"])]
    assert school.vertex_collections() == ["lectures", "rooms", "teachers"]
    assert school.edge_collections() == ["teach"]
    assert db.collection("teach").properties()["edge"]
    with pytest.raises(GraphCreateError) as raised:
        db.create_graph("school")
    assert errors(raised) == (409, 1925)
    with pytest.raises(CollectionDeleteError) as raised:
        db.delete_collection("teach")
    assert errors(raised) == (403, 1942)
    assert db.delete_graph("school", drop_collections=True)
    assert not db.has_collection("teachers")
    with pytest.raises(GraphDeleteError) as raised:
        db.delete_graph("school")
    assert errors(raised) == (404, 1924)
    with pytest.raises(GraphPropertiesError) as raised:
        db.graph("school").properties()
    assert errors(raised) == (404, 1924)


def test_vertex_collections(db, school):
    assert school.create_vertex_collection("labs").name == "labs"
    assert school.has_vertex_collection("labs")
    for name, number in (("labs", 1938), ("teachers", 1929)):
        with pytest.raises(VertexCollectionCreateError) as raised:
            school.create_vertex_collection(name)
        assert errors(raised) == (400, number)
    assert school.delete_vertex_collection("labs", purge=True)
    assert not db.has_collection("labs")
    for name, code in (("labs", (404, 1926)), ("teachers", (400, 1928))):
        with pytest.raises(VertexCollectionDeleteError) as raised:
            school.delete_vertex_collection(name)
        assert errors(raised) == code


def test_edge_definitions(db, school):
    assert school.create_edge_definition(**definition("visit", ["students"], ["lectures"])).name == "visit"
    assert school.has_edge_definition("visit")
    with pytest.raises(EdgeDefinitionCreateError) as raised:
        school.create_edge_definition(**definition("visit", ["students"], ["lectures"]))
    assert errors(raised) == (400, 1920)
    assert school.replace_edge_definition(**definition("visit", ["students"], ["rooms"])).name == "visit"
    found = {d["edge_collection"]: d for d in school.edge_definitions()}
    assert found["visit"]["to_vertex_collections"] == ["rooms"]
    db.create_collection("plain")
    with pytest.raises(EdgeDefinitionCreateError) as raised:
        school.create_edge_definition(**definition("plain", ["a"], ["b"]))
    assert errors(raised) == (400, 1944)
    with pytest.raises(GraphCreateError) as raised:
        db.create_graph("other", edge_definitions=[definition("teach", ["teachers"], ["rooms"])])
    assert errors(raised) == (400, 1921)
    shared = db.create_graph("other", edge_definitions=[definition("teach", ["teachers"], ["lectures"])])
    assert school.delete_edge_definition("visit", purge=True)
    assert not db.has_collection("visit")
    assert "students" in school.vertex_collections()
    with pytest.raises(EdgeDefinitionDeleteError) as raised:
        school.delete_edge_definition("visit")
    assert errors(raised) == (404, 1930)
    assert db.delete_graph(shared.name, drop_collections=True)
    assert db.has_collection("teach")
    db.delete_collection("plain")


@pytest.mark.parametrize(
    ("definitions", "number"),
    [
        ([{"collection": "x"}], 1923),
        ([{"collection": "x", "from": [], "to": ["a"]}], 1923),
        ([{"collection": "x", "from": "a", "to": ["a"]}], 1923),
        ("x", 1923),
        ([{"collection": "x", "from": ["a"], "to": ["b"]}] * 2, 1920),
        ([{"collection": ".a", "from": ["a"], "to": ["b"]}], 1208),
    ],
)
def test_malformed_graphs_leave_nothing_behind(db, definitions, number):
    answer = db.conn.send_request(
        Request(method="post", endpoint="/_api/gharial", data={"name": "bad", "edgeDefinitions": definitions})
    )
    assert answer.body["errorNum"] == number
    assert answer.status_code == 400
    assert not db.has_graph("bad")
    assert not db.has_collection("a")


def test_graphs_follow_renamed_collections(db, school):
    for old, new in (("teach", "instruct"), ("teachers", "tutors"), ("rooms", "halls")):
        db.collection(old).rename(new)
    assert school.properties()["edge_definitions"] == [definition("instruct", ["tutors"], ["lectures"])]
    assert school.vertex_collections() == ["halls", "lectures", "tutors"]


def test_foreign_documents_among_the_graphs_are_no_graphs(db, school):
    foreign = db.collection("_graphs")
    for key, document in (
        ("bare", {}),
        ("wrong", {"edgeDefinitions": [1], "orphanCollections": []}),
        ("worse", {"edgeDefinitions": [{"collection": "teach", "from": "a", "to": ["b"]}]}),
    ):
        foreign.insert({"_key": key, **document})
    assert [graph["name"] for graph in db.graphs()] == ["school"]
    with pytest.raises(GraphPropertiesError) as raised:
        db.graph("wrong").properties()
    assert errors(raised) == (404, 1924)
    for key in ("bare", "wrong", "worse"):
        foreign.delete(key)


def test_vertices(school):
    teachers = school.vertex_collection("teachers")
    made = teachers.insert({"_key": "ann", "n": 1, "o": {"a": 1}}, return_new=True)
    assert made["new"]["n"] == 1
    assert made["vertex"]["_id"] == "teachers/ann"
    assert teachers.get("ann")["n"] == 1
    assert teachers.get("nobody") is None
    assert teachers.has("ann")
    updated = teachers.update({"_key": "ann", "o": {"b": None}}, return_new=True, return_old=True, keep_none=False)
    assert updated["new"]["o"] == {"a": 1}
    assert updated["old"]["n"] == 1
    replaced = teachers.replace({"_key": "ann", "m": 1}, return_new=True)
    assert "n" not in replaced["new"]
    with pytest.raises(ArangoServerError) as raised:
        teachers.replace({"_key": "ann", "_rev": made["vertex"]["_rev"]})
    assert errors(raised) == (412, 1200)
    assert teachers.delete("ann", return_old=True)["old"]["m"] == 1
    with pytest.raises(ArangoServerError) as raised:
        teachers.delete("ann")
    assert errors(raised) == (404, 1202)
    assert teachers.delete("ann", ignore_missing=True) is False
    with pytest.raises(ArangoServerError) as raised:
        school.vertex_collection("strangers").insert({})
    assert errors(raised) == (404, 1926)


def test_edges(db, school):
    teachers, lectures = school.vertex_collection("teachers"), school.vertex_collection("lectures")
    teach = school.edge_collection("teach")
    teachers.insert_many([{"_key": "ann"}, {"_key": "bob"}])
    lectures.insert_many([{"_key": "maths"}, {"_key": "art"}])
    made = teach.insert({"_key": "am", "_from": "teachers/ann", "_to": "lectures/maths", "n": 1}, return_new=True)
    assert made["new"]["n"] == 1
    assert teach.get("am")["_to"] == "lectures/maths"
    assert teach.link("teachers/bob", "lectures/maths", {"_key": "bm"})["_key"] == "bm"
    assert school.has_edge("teach/bm")
    assert {e["_key"] for e in teach.edges("lectures/maths")["edges"]} == {"am", "bm"}
    assert teach.edges("lectures/maths", direction="out")["edges"] == []
    assert teach.update({"_key": "am", "n": 2}, return_new=True)["new"]["n"] == 2
    assert (
        teach.replace({"_key": "am", "_from": "teachers/ann", "_to": "lectures/art"}, return_new=True)["new"]["_to"]
        == "lectures/art"
    )
    for edge, code in (
        ({"_from": "teachers/nobody", "_to": "lectures/maths"}, (404, 1202)),
        ({"_from": "rivers/a", "_to": "lectures/maths"}, (400, 1947)),
        ({"_from": "teachers/ann"}, (400, 1233)),
        ({"_from": "teachers/ann", "_to": "lectures"}, (400, 1233)),
    ):
        with pytest.raises(ArangoServerError) as raised:
            teach.insert(edge)
        assert errors(raised) == code
    assert teach.delete("bm")
    assert not teach.has("bm")
    assert school.delete_vertex("teachers/ann")
    assert db.collection("teach").count() == 0
    with pytest.raises(ArangoServerError) as raised:
        school.edge_collection("unrelated").insert({"_from": "teachers/bob", "_to": "lectures/art"})
    assert errors(raised) == (404, 1930)
    assert list(db.aql.execute("FOR v IN 1..1 OUTBOUND 'teachers/bob' GRAPH 'school' RETURN v._key")) == []
