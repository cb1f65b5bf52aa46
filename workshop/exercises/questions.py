"""Five questions at the end of a notebook: unfold an option to see whether it is right, and why.

The questions of a notebook are in ``notebooks/quizzes/``, one file each. They are shown as HTML that unfolds by itself,
without a script: it works in JupyterLab, in an exported page and without a network.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from workshop.errors import ExerciseError
from workshop.exercises.verdict import inline
from workshop.settings import PROJECT_ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

QUIZZES = PROJECT_ROOT / "notebooks" / "quizzes"
LETTERS = "ABCDEF"


class Option(BaseModel):
    """One possible answer, and why it is right or wrong. Text between backticks is shown as code."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    says: str = Field(min_length=1)
    why: str = Field(min_length=1)
    right: bool = False


class Question(BaseModel):
    """A question with three to six options, one of which is right."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asks: str = Field(min_length=1)
    option: tuple[Option, ...] = Field(min_length=3, max_length=len(LETTERS))

    @model_validator(mode="after")
    def _one_right(self) -> Question:
        if sum(option.right for option in self.option) != 1:
            raise ValueError(f"exactly one option must be right: {self.asks!r}")
        return self


class Quiz(BaseModel):
    """The questions of one notebook. JupyterLab shows them with options that unfold, a terminal without answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: tuple[Question, ...] = Field(min_length=1)

    def __str__(self) -> str:
        lines = []
        for number, question in enumerate(self.question, 1):
            lines.append(f"{number}. {question.asks}")
            lines += [f"   {letter}  {option.says}" for letter, option in zip(LETTERS, question.option, strict=False)]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "\n".join(_question_html(number, question) for number, question in enumerate(self.question, 1))


def quiz(notebook: str, folder: Path = QUIZZES) -> Quiz:
    """The quiz of a notebook, shown where a cell ends with it.

    Args:
        notebook: its two digits.
        folder: where the quizzes are.

    Raises:
        ExerciseError: there is none, or its file breaks a rule; the message says where.
    """
    found = sorted(folder.glob(f"{notebook}_*.toml"))
    if len(found) != 1:
        raise ExerciseError(f"{folder} has {len(found)} quizzes of notebook {notebook!r}, expected one")
    try:
        return Quiz.model_validate(tomllib.loads(found[0].read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise ExerciseError(f"{found[0].name} is not valid TOML: {error}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ExerciseError(f"{found[0].name}: {problems}", hint="compare with the quiz of another notebook") from error


def _question_html(number: int, question: Question) -> str:
    options = "".join(
        f"<details><summary>{letter}: {inline(option.says)}</summary>"
        f'<p style="margin: 0.3em 1em">{"✓ Right" if option.right else "✗ No"}. {inline(option.why)}</p></details>'
        for letter, option in zip(LETTERS, question.option, strict=False)
    )
    return f'<div style="margin-bottom: 1em"><p><b>{number}. {inline(question.asks)}</b></p>{options}</div>'
