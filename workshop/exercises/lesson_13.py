"""Checks of `13_deploy_to_sagemaker`. Vectors are float32 ``[texts, width]``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from workshop.errors import InvocationError
from workshop.exercises.answers import RefusedError, call, names, shown
from workshop.exercises.checking import Exercise
from workshop.exercises.verdict import Findings, right, wrong
from workshop.sagemaker.deployment import Deployment, Scaling
from workshop.sagemaker.front_end import FrontEnd
from workshop.sagemaker.payload import JSON_TYPE, Payload, decode

LARGEST_DIFFERENCE = 1e-4


def by_hand(answer: object, *, front_end: FrontEnd, texts: Sequence[str], vectors: np.ndarray) -> Findings:
    """A request as JSON, written without help: the server itself answers it."""
    if not isinstance(answer, dict):
        raise RefusedError(f"the request should be a dict, and is {shown(answer)}")
    sent = [tensor for tensor in answer.get("inputs", []) if isinstance(tensor, dict)]
    if len(sent) != 1:
        raise RefusedError(f"the ensemble has one input, and `inputs` describes {len(sent)}")
    data = np.asarray(sent[0].get("data", []), dtype=object).reshape(-1).tolist()
    if data == list(texts):
        yield right(f"it holds the {len(texts)} texts")
    else:
        yield wrong(f"its data are not the {len(texts)} texts in their order")
    try:
        outputs = decode(front_end.invoke(Payload(json.dumps(answer).encode(), JSON_TYPE)))
    except (InvocationError, TypeError) as error:
        yield wrong(f"Triton refuses it: {str(error).splitlines()[0]}")
        return
    received = next(iter(outputs.values()))
    if received.shape == vectors.shape and np.abs(received - vectors).max() <= LARGEST_DIFFERENCE:
        yield right("Triton takes it, and gives the vectors that boto3 received")
    else:
        yield wrong(f"Triton takes it and gives {list(received.shape)}, and these are not the vectors of the texts")


def renamed(answer: object, *, deployment: Deployment) -> Findings:
    """The arguments of ``Deployment`` whose change gives model and configuration another name."""
    changes = {
        "environment": {"SAGEMAKER_TRITON_LOG_VERBOSE": "1"},
        "image": f"{deployment.image}-other",
        "instance_type": f"{deployment.instance_type}.other",
        "scaling": Scaling(least=2, most=5, requests_a_minute=60),
        "tags": {"project": "another"},
    }
    given = names(answer, "the arguments")
    if unknown := given - set(changes):
        raise RefusedError(f"{', '.join(sorted(unknown))} is none of {', '.join(changes)}")
    for argument, value in changes.items():
        changed = replace(deployment, **{argument: value}).part_name != deployment.part_name
        if changed == (argument in given):
            yield right(f"`{argument}` is {'' if changed else 'not '}part of the name")
        elif changed:
            yield wrong(f"with another `{argument}` the endpoint consists of something else, so its name must change")
        else:
            yield wrong(f"another `{argument}` is put on an endpoint that is there: nothing is made anew")


def stays_inside(answer: object) -> Findings:
    """A function that says of an entry's name whether unpacking it writes inside the folder only."""
    cases = {
        "core/1/model.onnx": (True, "an ordinary file is refused"),
        "../evil": (False, "it lets a name pass that begins by leaving the folder"),
        "/etc/cron.d/evil": (False, "it lets a name pass that starts from the root of the machine"),
        "core/../../evil": (False, "it looks at the beginning only: this one leaves the folder later on"),
        "core/1/notes..txt": (True, "two dots inside a name are a name like any other"),
        "..data/file": (True, "a folder whose name begins with two dots is not the folder above"),
    }
    for name, (inside, reason) in cases.items():
        said = call(answer, name)
        if not isinstance(said, bool | np.bool_):
            raise RefusedError(f"for `{name}` your function should return True or False, and returns {shown(said)}")
        if bool(said) == inside:
            yield right(f"`{name}` is {'taken' if inside else 'refused'}")
        else:
            yield wrong(f"`{name}`: {reason}")


EXERCISES = {
    "1": Exercise("Fill in `request` in the cell above; section 2 prints one of this kind.", by_hand),
    "2": Exercise('Set `renaming` in the cell above, such as ["tags"].', renamed),
    "3": Exercise("Give `inside` a body that returns True or False.", stays_inside),
}
