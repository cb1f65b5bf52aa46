"""The local TorchScript backend takes what NVIDIA's own backend takes, and refuses what it refuses."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import pytest
import torch

from workshop.stack.backends.pytorch.conventions import (
    check_arguments,
    check_positions,
    check_specs,
    order_tensors,
    pick_output,
    read_results,
)


class Pair(NamedTuple):
    """Two results by name."""

    first: torch.Tensor
    texts: list[str]


def scripted(function):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(function)


def a_tensor(x: torch.Tensor) -> torch.Tensor:
    return x


def texts(x: torch.Tensor) -> list[str]:
    return ["a", "b"]


def a_pair(x: torch.Tensor) -> Pair:
    return Pair(x, ["a"])


def a_list_of_tensors(x: torch.Tensor) -> list[torch.Tensor]:
    return [x, x]


def a_dictionary(x: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"a": x}


def a_number(x: torch.Tensor) -> int:
    return x.size(0)


def a_number_that_nobody_asked_for(x: torch.Tensor) -> tuple[torch.Tensor, float]:
    return x, 1.0


def a_list_in_a_tuple(x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    return x, [x]


def a_tuple_in_a_tuple(x: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    return x, (x, x)


def spec(name, dtype="TYPE_FP32", dims=("-1",), **fields):
    return {"name": name, "data_type": dtype, "dims": list(dims), **fields}


@pytest.mark.parametrize(("function", "count"), [(a_tensor, 1), (texts, 1), (a_pair, 2)])
def test_tensors_strings_and_tuples_of_them_are_results(function, count):
    assert len(read_results(scripted(function)(torch.ones(2)))) == count


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (a_list_of_tensors, "result 0 of forward is a list of Tensor"),
        (a_dictionary, "result 0 of forward is a dict of Tensor"),
        (a_number, "result 0 of forward is a int"),
        (a_number_that_nobody_asked_for, "result 1 of forward is a float"),
        (a_list_in_a_tuple, "result 1 of forward is a list of Tensor"),
        (a_tuple_in_a_tuple, "result 1 of forward is a tuple"),
    ],
)
def test_other_results_are_refused(function, reason):
    with pytest.raises(ValueError, match=reason):
        read_results(scripted(function)(torch.ones(2)))


def test_a_tensor_without_dimensions_is_refused():
    with pytest.raises(ValueError, match="output 'loss__0' is a scalar"):
        pick_output([torch.tensor(1.0)], 0, spec("loss__0"))
    assert pick_output([torch.ones(1)], 0, spec("loss__0")).tolist() == [1.0]


@pytest.mark.parametrize(
    ("names", "positions"),
    [
        (["b__1", "a__0"], [1, 0]),
        (["hidden_state__1", "a__0"], [1, 0]),
        (["a__", "b__1"], [0, 1]),
        # split at the first double underscore, what follows is no number: the order of the configuration holds
        (["a__b__1", "c__0"], [0, 1]),
        (["a___1", "b__0"], [0, 1]),
        (["plain", "b__0"], [0, 1]),
        (["x__٣", "b__0"], [0, 1]),
    ],
)
def test_positions_are_read_from_names_as_in_the_native_backend(names, positions):
    assert [position for position, _ in order_tensors([spec(name) for name in names], ())] == positions


def test_names_of_arguments_come_first():
    ordered = order_tensors([spec("b__0"), spec("a__1")], ["a__1", "b__0"])
    assert [position for position, _ in ordered] == [1, 0]


def test_inputs_must_fill_the_positions():
    with pytest.raises(ValueError, match="forward takes 2 inputs, but the configuration has 1: a__0"):
        check_positions(order_tensors([spec("a__0")], ()), 2)
    with pytest.raises(ValueError, match="two tensors claim one position"):
        order_tensors([spec("a__0"), spec("b__0")], ())


def takes_optional(x: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
    return x if scale is None else x * scale


def takes_a_number(x: torch.Tensor, power: int) -> torch.Tensor:
    return x**power


def takes_two_dictionaries(x: dict[str, torch.Tensor], y: dict[str, torch.Tensor]) -> torch.Tensor:
    return x["a"] + y["a"]


def takes_lists(x: torch.Tensor, texts: list[str]) -> torch.Tensor:
    return x


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (takes_optional, r"argument 'scale' of forward is of type Optional\[Tensor\]"),
        (takes_a_number, "argument 'power' of forward is of type int"),
        (takes_two_dictionaries, r"argument 'x' of forward is of type Dict\[str, Tensor\]"),
    ],
)
def test_arguments_that_triton_cannot_give_are_refused(function, reason):
    with pytest.raises(ValueError, match=reason):
        check_arguments(scripted(function).schema.arguments)


def test_tensors_and_lists_are_arguments():
    check_arguments(scripted(takes_lists).schema.arguments)


@pytest.mark.parametrize(
    ("specs", "batching", "reason"),
    [
        ([], False, "the configuration has no inputs"),
        ([spec("a__0", "TYPE_BF16")], False, "input 'a__0': TorchScript models cannot use TYPE_BF16"),
        ([spec("a__0", "TYPE_UINT16")], False, "input 'a__0': TorchScript models cannot use TYPE_UINT16"),
        ([spec("a__0", "TYPE_STRING", ["2", "2"])], False, "input 'a__0': TYPE_STRING must have one dimension"),
        ([spec("a__0", "TYPE_STRING", ["1"])], True, "input 'a__0': TYPE_STRING must have one dimension"),
        ([spec("a__0", allow_ragged_batch=True)], True, "input 'a__0': the local backend has no ragged batches"),
    ],
)
def test_configurations_that_the_native_backend_refuses_or_reads_otherwise_are_refused(specs, batching, reason):
    with pytest.raises(ValueError, match=reason):
        check_specs("input", specs, batching=batching)


def test_strings_may_lose_a_dimension_by_reshape():
    check_specs("input", [spec("a__0", "TYPE_STRING", ["1"], reshape={"shape": []})], batching=True)
