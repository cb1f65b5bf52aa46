"""Checks of `01_trace_sentence_bert`."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from workshop.exercises.answers import RefusedError, array, call, number
from workshop.exercises.checking import Exercise
from workshop.exercises.verdict import Findings, right, wrong

TRACE_EXAMPLE = [[1.0, -1.0, 2.0], [3.0, 0.0, -4.0]]
UNLIKE = {
    "more rows than the example": [[1.0, 2.0, -3.0], [4.0, -5.0, 6.0], [-7.0, 8.0, 9.0]],
    "a single, wider row": [[-2.0, 1.0, 5.0, -1.0, 0.0, 6.0]],
    "a row without a positive number": [[-1.0, -2.0, 0.0], [4.0, -1.0, 2.0]],
}


def padding_share(answer: object, *, mask: torch.Tensor) -> Findings:
    """The share of 0 in ``mask``, int64 ``[batch, length]``."""
    value, text = number(answer, "the answer"), float(mask.float().mean())
    if abs(value - (1 - text)) < 1e-3:
        yield right(f"{value:.1%} of the {mask.numel()} positions hold no token")
    elif abs(value - text) < 1e-3:
        yield wrong("this is the share of the positions that do hold a token")
    elif not 0 <= value <= 1:
        yield wrong(f"a share is between 0 and 1, and this is {value:g}: a count?")
    else:
        yield wrong(f"{value:.3f} is not the share of all {mask.shape[0]} rows of the batch together")


def largest_pooling(answer: object) -> Findings:
    """A function of hidden ``[batch, length, width]`` and mask ``[batch, length]`` to unit rows ``[batch, width]``."""
    hidden = torch.randn((3, 6, 5), generator=torch.Generator().manual_seed(0)) - 1
    hidden[2] = -hidden[2].abs()  # negative everywhere: a 0 would be the largest
    lengths = (6, 3, 2)
    mask = torch.tensor([[1] * length + [0] * (6 - length) for length in lengths])
    found = array(call(answer, hidden.clone(), mask.clone()), "the result", (3, 5)).astype(np.float64)
    largest = np.stack([row[:length].max(axis=0) for row, length in zip(hidden.numpy(), lengths, strict=True)])
    expected = largest / np.linalg.norm(largest, axis=1, keepdims=True)
    norms = np.linalg.norm(found, axis=1)
    if np.allclose(norms, 1, atol=1e-4):
        yield right("the vectors have length 1")
    else:
        yield wrong(f"the vectors should have length 1, and have {', '.join(f'{norm:.2f}' for norm in norms)}")
    directions = found / np.maximum(norms, 1e-12)[:, None]
    hits = np.isclose(directions, expected, atol=1e-4).all(axis=1)
    if not hits[0]:
        yield wrong("already in the row without padding, the numbers are not the largest of each column")
    elif not hits[1]:
        yield wrong("the row without padding is right, a row with padding is not: padding takes part")
    elif not hits[2]:
        yield wrong("where all token vectors are negative, padding was larger than they: what is put into it?")
    else:
        yield right("each number is the largest over the tokens, whatever stands in the padding")


def traceable(answer: object) -> Findings:
    """A module class, ``[batch, width]`` to ``[batch]``, that is right eagerly and as a trace."""
    example = torch.tensor(TRACE_EXAMPLE)
    module = call(answer)
    if not isinstance(module, torch.nn.Module):
        raise RefusedError(f"the answer should be a class of modules, and makes a {type(module).__name__}")
    yield from _agrees(call(module, example), example, "before tracing, on the example")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # the findings say it
        try:
            traced = torch.jit.trace(module.eval(), example, check_trace=False)
        except RuntimeError as error:
            raise RefusedError(f"it cannot be traced: {str(error).strip().splitlines()[0]}") from error
    for name, rows in UNLIKE.items():
        values = torch.tensor(rows)
        try:
            found = traced(values)
        except RuntimeError as error:
            yield wrong(f"the trace, on {name}: {str(error).strip().splitlines()[-1]}")
        else:
            yield from _agrees(found, values, f"the trace, on {name}")


def _agrees(found: object, values: torch.Tensor, when: str) -> Findings:
    rows = values.numpy()
    expected = np.array([row[row > 0].mean() if (row > 0).any() else 0.0 for row in rows])
    result = array(found, f"{when}: the result", (None,))
    if len(result) != len(expected):
        yield wrong(f"{when}: {len(expected)} rows went in and {len(result)} numbers came out")
    elif np.isnan(result).any():
        yield wrong(f"{when}: a number is not a number. What is divided by 0?")
    elif not np.allclose(result, expected, atol=1e-5):
        yield wrong(f"{when}: not the mean of the positive numbers")
    else:
        yield right(f"{when}: right")


EXERCISES = {
    "1": Exercise("Set `padding` in the cell above, from `batch_mask`.", padding_share),
    "2": Exercise("Give `pool_largest` a body that returns a tensor.", largest_pooling),
    "3": Exercise("Give `forward` a body that returns a tensor.", traceable),
}
