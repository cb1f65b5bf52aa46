"""Checks by number: ``check("06.2", answer, ...)``.

The exercises of notebook ``NN`` are in the module ``lesson_NN``, whose ``EXERCISES`` has one entry for each. A check
knows no results: what is right follows from the notebook's own data, which the check cell passes by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from workshop.errors import ExerciseError
from workshop.exercises.answers import RefusedError, UnansweredError, is_open
from workshop.exercises.verdict import Finding, Findings, Verdict, wrong


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Attributes:
        start: how to begin, for somebody who has not.
        judge: looks at an answer, with the notebook's data by keyword, and yields what it finds.
    """

    start: str
    judge: Callable[..., Findings]


def check(exercise: str, answer: object, **given: object) -> Verdict:
    """Judge an answer and say what is right, what is wrong and why, without giving the right one away.

    Args:
        exercise: notebook and number, such as ``"06.2"``.
        answer: the learner's. ``...`` or None is no answer yet: then the verdict says how to start.
        given: the data of the notebook that the truth follows from, as the check cell names them.

    Raises:
        ExerciseError: there is no such exercise, or ``given`` does not have the names that its judge takes.
    """
    found = find(exercise)
    parameters = inspect.signature(found.judge).parameters.values()
    expected = {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    if expected != set(given):
        raise ExerciseError(
            f"exercise {exercise} is checked with {sorted(expected)}, got {sorted(given)}",
            hint="run the check cell as it stands in the notebook",
        )
    return Verdict(exercise, tuple(_findings(found, answer, given)), found.start)


def find(exercise: str) -> Exercise:
    """Look an exercise up.

    Raises:
        ExerciseError: no notebook, or no exercise of it, has that number.
    """
    lesson, _, number = str(exercise).partition(".")
    module = f"workshop.exercises.lesson_{lesson}"
    known = import_module(module).EXERCISES if lesson.isdigit() and find_spec(module) else {}
    if number not in known:
        has = f"notebook {lesson} has {', '.join(f'{lesson}.{n}' for n in known)}" if known else "no notebook has it"
        raise ExerciseError(f"there is no exercise {exercise!r}: {has}", hint='check("06.2", answer)')
    return known[number]


def _findings(exercise: Exercise, answer: object, given: Mapping[str, object]) -> list[Finding]:
    if is_open(answer):
        return []
    findings: list[Finding] = []
    try:
        for finding in exercise.judge(answer, **given):
            findings.append(finding)  # one by one: those before a refusal count
    except UnansweredError:
        if findings:
            findings.append(wrong("for the next input your function returns nothing"))
    except RefusedError as error:
        findings.append(wrong(str(error)))
    return findings
