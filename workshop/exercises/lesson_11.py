"""Checks of `11_chain_models`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from workshop.data.sentiment import Reviews
from workshop.exercises.answers import RefusedError, call, names, number, parts, shown
from workshop.exercises.checking import Exercise
from workshop.exercises.verdict import Findings, right, wrong
from workshop.triton.signature import EnsembleStep

DIAMOND = (
    EnsembleStep("join", {"left": "l", "right": "r"}, {"all": "joined"}),
    EnsembleStep("west", {"in": "split"}, {"out": "l"}),
    EnsembleStep("east", {"in": "split"}, {"out": "r"}),
    EnsembleStep("cut", {"text": "asked"}, {"piece": "split"}),
)


def waited_for(answer: object, *, steps: Sequence[EnsembleStep]) -> Findings:
    """The models that fill what the last step reads."""
    said, last = names(answer, "the answer"), steps[-1]
    fills = {name: step.model for step in steps for name in step.outputs.values()}
    wanted = {fills[name] for name in last.inputs.values() if name in fills}
    models = {step.model for step in steps}
    if strange := said - models:
        why = ", a tensor" if strange & (set(fills) | set(last.inputs.values())) else ""
        yield wrong(f"{shown(min(strange))} is none of the models of the chain{why}")
    if last.model in said:
        yield wrong(f"`{last.model}` does not wait for itself")
    elif more := (said & models) - wanted:
        yield wrong(f"it reads nothing that `{min(more)}` fills")
    if missing := wanted - said:
        yield wrong(f"it reads {len(missing)} more that another model has to fill first")
    if said == wanted:
        yield right(f"these fill {', '.join(f'`{name}`' for name in last.inputs.values() if name in fills)}")


def surer_half(answer: object, *, positive: np.ndarray, test: Reviews) -> Findings:
    """``(distance, accuracy)`` of the half of the decided reviews with the surest ``positive``, float ``[reviews]``."""
    distance, accuracy = parts(answer, ("distance", "accuracy"))
    distance, accuracy = number(distance, "the distance"), number(accuracy, "the accuracy")
    decided = test.decided
    sure, hits = np.abs(positive - 0.5)[decided], ((positive >= 0.5) == test.labels)[decided]
    left = sure >= distance
    if 0.48 <= left.mean() <= 0.52:
        yield right(f"{left.mean():.0%} of the decided reviews are at least that far from 0.5")
    else:
        yield wrong(f"at least {distance:.3f} from 0.5 are {left.mean():.0%} of the decided reviews; it should be half")
        left = sure >= np.median(sure)
    if abs(accuracy - hits[left].mean()) <= 0.005:
        yield right(f"{accuracy:.1%} of them are right, where of all it is {hits.mean():.1%}")
    elif not 0 <= accuracy <= 1:
        yield wrong(f"an accuracy is between 0 and 1, and this is {accuracy:.3g}")
    elif abs(accuracy - hits.mean()) <= 0.002:
        yield wrong("this is the accuracy on all decided reviews")
    elif abs(accuracy - hits[~left].mean()) <= 0.005:
        yield wrong("this is the accuracy on the half that was to be left out")
    else:
        yield wrong(f"{accuracy:.3f} is not the accuracy on the surer half")


def ensemble(answer: object, *, steps: Sequence[EnsembleStep]) -> Findings:
    """A function ``(steps, models, tensors)`` that runs a chain and gives all its tensors by name."""
    first = set(steps[0].inputs.values())
    request = {name: f"<{name}>" for name in first}
    chains = {
        "the chain of this notebook": (tuple(steps), request),
        "the same, listed backwards": (tuple(steps[::-1]), request),
        "two branches that meet": (DIAMOND, {"asked": "<asked>"}),
    }
    for name, (listed, given) in chains.items():
        models = {step.model: _model(step) for step in listed}
        found, expected = call(answer, list(listed), models, dict(given)), _run(listed, models, given)
        if not isinstance(found, Mapping):
            raise RefusedError(f"{name}: expected a dictionary of tensors, and got {shown(found)}")
        if missing := set(expected) - set(found):
            yield wrong(f"{name}: {len(missing)} of {len(expected)} tensors are missing, `{min(missing)}` for one")
        elif bad := [tensor for tensor in expected if found[tensor] != expected[tensor]]:
            yield wrong(f"{name}: `{bad[0]}` is {shown(found[bad[0]])}, which is not what its model fills it with")
        else:
            yield right(f"{name}: all {len(expected)} tensors are there")


def _model(step: EnsembleStep) -> Callable[[Mapping[str, str]], dict[str, str]]:
    """A model whose outputs tell what they were made of; it insists on its own names."""

    def model(inputs: Mapping[str, str]) -> dict[str, str]:
        if set(inputs) != set(step.inputs):
            raise KeyError(f"{step.model} takes {sorted(step.inputs)}, and got {sorted(inputs)}")
        made_of = ", ".join(f"{own}={inputs[own]}" for own in sorted(inputs))
        return {own: f"{step.model}.{own}({made_of})" for own in step.outputs}

    return model


def _run(steps: Sequence[EnsembleStep], models: Mapping[str, Callable], given: Mapping[str, str]) -> dict[str, str]:
    known, waiting = dict(given), list(steps)
    while waiting:
        for step in [step for step in waiting if set(step.inputs.values()) <= set(known)]:
            filled = models[step.model]({own: known[name] for own, name in step.inputs.items()})
            known.update({name: filled[own] for own, name in step.outputs.items()})
            waiting.remove(step)
    return known


EXERCISES = {
    "1": Exercise("Set `waits_for` in the cell above to a list of models.", waited_for),
    "2": Exercise("Fill in `surer_half` in the cell above with two numbers.", surer_half),
    "3": Exercise("Give `run_chain` a body that returns a dictionary.", ensemble),
}
