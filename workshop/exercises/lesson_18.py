"""Checks of `18_embed_on_many_machines`."""

from __future__ import annotations

import numpy as np

from workshop.exercises.answers import RefusedError, array, call, number, parts, shown
from workshop.exercises.checking import Exercise
from workshop.exercises.verdict import Findings, right, wrong
from workshop.graph.partition import partition_graph
from workshop.graph.sampling import CSRGraph

_PASSED = ("by offset", "by range")


def passed(answer: object, *, documents: int, page: int) -> Findings:
    """``(by offset, by range)``: documents the server passes when all pages are read."""
    by_offset, by_range = (number(value, what) for value, what in zip(parts(answer, _PASSED), _PASSED, strict=True))
    pages = -(-documents // page)
    expected = sum(min((place + 1) * page, documents) for place in range(pages))
    if by_offset == expected:
        yield right(f"by offset: {pages} pages pass {expected:,} documents")
    elif by_offset == expected - documents:
        yield wrong("these are the dropped ones; the documents that are returned are passed too")
    elif by_offset == pages * documents:
        yield wrong("the server stops at the end of a page; only the last page passes all documents")
    elif by_offset == documents:
        yield wrong("an offset makes every page pass those before it again")
    else:
        yield wrong(f"by offset: {by_offset:,.0f} is not what {pages} pages pass")
    if by_range == documents:
        yield right("by range: every document once")
    else:
        yield wrong(f"by range: {by_range:,.0f}, though a range begins at its own first document")


def cut(answer: object) -> Findings:
    """A function ``(keys, size)`` that gives ranges ``(after, until)`` which hold every key once."""
    for title, (keys, size) in _key_lists().items():
        said = call(answer, list(keys), size)
        try:
            ranges = [(str(after), str(until)) for after, until in said]
        except (TypeError, ValueError):
            raise RefusedError(f"{title}: a list of pairs (after, until) is wanted, and is {shown(said)}") from None
        held = [[key for key in keys if after < key <= until] for after, until in ranges]
        times = {key: sum(key in one for one in held) for key in keys}
        sizes = [len(one) for one in held]
        if missing := [key for key, count in times.items() if not count]:
            yield wrong(f"{title}: {len(missing)} of {len(keys)} keys are in no range, the first is {missing[0]!r}")
        elif twice := [key for key, count in times.items() if count > 1]:
            yield wrong(f"{title}: {len(twice)} keys are in several ranges, the first is {twice[0]!r}")
        elif any(count != size for count in sizes[:-1]) or any(not 0 < count <= size for count in sizes[-1:]):
            yield wrong(f"{title}: ranges of {size} keys are wanted, and hold {shown(sizes)}")
        else:
            yield right(f"{title}: {len(keys)} keys in {len(ranges)} ranges")


def _key_lists() -> dict[str, tuple[list[str], int]]:
    even = [f"m{place:03d}" for place in range(12)]
    return {
        "ranges of equal size": (even, 4),
        "a rest": (even[:11], 4),
        "fewer keys than a range holds": (even[:3], 10),
        "one key a range": (even[:5], 1),
        "no keys": ([], 4),
    }


def halo(answer: object, *, graph: CSRGraph) -> Findings:
    """A function ``(indptr, indices, start, stop)`` that gives the halo of a partition."""
    for title, (csr, count) in {"a small graph": (_small(), 3), "the notebook's graph": (graph, 4)}.items():
        for partition in partition_graph(csr, count):
            said = call(answer, csr.indptr.copy(), csr.indices.copy(), partition.start, partition.stop)
            about = f"{title}, nodes {partition.start} to {partition.stop - 1}"
            found = array(said, f"{about}: what your function returns", (None,))
            expected = partition.halo
            if np.array_equal(found, expected):
                yield right(f"{about}: {len(expected)} halo nodes")
            elif np.isin(found, np.arange(partition.start, partition.stop)).any():
                yield wrong(f"{about}: some of these are its own nodes, or are not numbered as in the whole graph")
            elif np.array_equal(np.unique(found), expected):
                yield wrong(f"{about}: the right nodes, but not each once and ascending")
            else:
                lacking = len(np.setdiff1d(expected, found))
                more = len(np.setdiff1d(found, expected))
                yield wrong(f"{about}: {lacking} sources are missing, and {more} have no edge into it")


def _small() -> CSRGraph:
    rng = np.random.default_rng(18)
    return CSRGraph.from_edge_index(rng.integers(0, 12, (2, 30)), 12)


EXERCISES = {
    "1": Exercise("Fill in `passed` in the cell above with two numbers.", passed),
    "2": Exercise("Give `cut` a body that returns a list of pairs.", cut),
    "3": Exercise("Give `halo` a body that returns an array.", halo),
}
