"""The typed view of ``notebooks/index.toml``: what each notebook needs, makes and must show."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from workshop.errors import RunnerError, UnknownNotebookError
from workshop.settings import PROJECT_ROOT, DataSize, Settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

INDEX_PATH = PROJECT_ROOT / "notebooks" / "index.toml"
SELECTIONS = {"core": ("00", "01", "05", "06")}
"""Notebooks that are asked for by one name; ``core`` is the path of two hours."""

Need = Literal["triton", "arangodb", "gpu", "network"]
NotebookName = Annotated[str, StringConstraints(pattern=r"^\d{2}(_[a-z0-9]+){2,}$")]


class Figure(BaseModel):
    """A number that the notebook records, and what it must be.

    Either a range (``min``, ``max``, both inclusive) or a ``value`` with a relative tolerance ``rel``. The figure must
    be there at the data sizes in ``sizes``, which are all of them unless the index says otherwise, and unless the run
    was given one of the settings or parameters in ``unless``, such as a model of one's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    min: float | None = None
    max: float | None = None
    value: float | None = None
    rel: float = Field(1e-6, gt=0)
    sizes: frozenset[DataSize] = frozenset({"tiny", "default", "full"})
    unless: frozenset[str] = frozenset()

    @model_validator(mode="after")
    def _one_rule(self) -> Figure:
        ranged = self.min is not None or self.max is not None
        if ranged == (self.value is not None):
            raise ValueError(f"figure {self.name!r} needs either min and/or max, or value")
        return self

    def problem(self, recorded: float) -> str | None:
        """Say how ``recorded`` breaks the rule, or return None when it keeps it."""
        if self.value is not None:
            if abs(recorded - self.value) <= self.rel * abs(self.value):
                return None
            return f"{self.name} = {recorded:.6g}, expected {self.value:.6g} within {self.rel:.1%}"
        if self.min is not None and not recorded >= self.min:
            return f"{self.name} = {recorded:.6g}, expected at least {self.min:.6g}"
        if self.max is not None and not recorded <= self.max:
            return f"{self.name} = {recorded:.6g}, expected at most {self.max:.6g}"
        return None


class Entry(BaseModel):
    """One notebook of the index, which lies beside it in ``folder``.

    ``extras`` are those of ``pyproject.toml`` whose packages the notebook needs. ``inputs`` and ``outputs`` are files,
    written relative to the project's root; the name of an output may hold ``*``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: NotebookName
    title: str
    goal: str
    minutes: float = Field(gt=0)
    needs: frozenset[Need] = frozenset()
    extras: frozenset[str] = frozenset()
    depends_on: tuple[NotebookName, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    timeout: int = Field(gt=0, description="Seconds the whole notebook may take")
    figures: tuple[Figure, ...] = ()
    folder: Path = INDEX_PATH.parent

    @property
    def number(self) -> str:
        """The two digits in front."""
        return self.name[:2]

    @property
    def path(self) -> Path:
        """Where the notebook is."""
        return self.folder / f"{self.name}.ipynb"

    def output_files(self, settings: Settings) -> dict[Path, list[Path]]:
        """Each declared output, under the folders that the settings name, and the files that are there of it."""
        declared = [resolve_path(output, settings) for output in self.outputs]
        return {path: sorted(path.parent.glob(path.name)) for path in declared}

    def figure_problems(
        self, recorded: dict[str, float], size: DataSize, given: frozenset[str] = frozenset()
    ) -> list[str]:
        """Every declared figure that is missing or out of bounds, as sentences; empty when all is well.

        ``given`` are the settings and parameters that hold a value, in lower case.
        """
        problems = []
        for figure in self.figures:
            if size not in figure.sizes or figure.unless & given:
                continue
            if figure.name not in recorded:
                problems.append(f"{figure.name} was not recorded")
            elif problem := figure.problem(recorded[figure.name]):
                problems.append(problem)
        return problems


class Index(BaseModel):
    """All notebooks in reading order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    notebook: tuple[Entry, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _in_order(self) -> Index:
        seen: set[str] = set()
        numbers = [entry.number for entry in self.notebook]
        if numbers != sorted(set(numbers)):
            raise ValueError(f"numbers must be unique and ascending, got {numbers}")
        for entry in self.notebook:
            if missing := [name for name in entry.depends_on if name not in seen]:
                raise ValueError(f"{entry.name} depends on {missing}, which do not come before it")
            seen.add(entry.name)
        return self

    def find(self, wanted: str) -> Entry:
        """Look a notebook up by number (``5`` or ``05``) or by name, with or without ``.ipynb``.

        Raises:
            UnknownNotebookError: the index has no such notebook; the message lists those it has.
        """
        token = Path(wanted.strip()).name.removesuffix(".ipynb")
        number = token.zfill(2) if re.fullmatch(r"\d{1,2}", token) else None
        for entry in self.notebook:
            if entry.name == token or entry.number == number:
                return entry
        known = ", ".join(entry.name for entry in self.notebook)
        raise UnknownNotebookError(
            f"no notebook {wanted!r} in the index, which has {known}", hint='make run NOTEBOOKS="00 01"'
        )

    def select(self, wanted: Iterable[str] = ()) -> list[Entry]:
        """The notebooks asked for with everything they depend on, in reading order; all of them when none is named.

        Args:
            wanted: numbers, names, or keys of ``SELECTIONS``.

        Raises:
            UnknownNotebookError: a number or name is not in the index.
        """
        tokens = [token for word in wanted for token in SELECTIONS.get(word, (word,))]
        chosen = {self.find(token).name for token in tokens} or {entry.name for entry in self.notebook}
        for entry in reversed(self.notebook):  # dependencies come earlier, so one pass from the end closes the set
            if entry.name in chosen:
                chosen.update(entry.depends_on)
        return [entry for entry in self.notebook if entry.name in chosen]


def load_index(path: Path = INDEX_PATH) -> Index:
    """Read and check the index.

    Raises:
        RunnerError: the file is missing, is not TOML, or breaks a rule; the message says where.
    """
    try:
        index = Index.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise RunnerError(f"there is no notebook index at {path}") from error
    except tomllib.TOMLDecodeError as error:
        raise RunnerError(f"{path.name} is not valid TOML: {error}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise RunnerError(f"{path.name}: {problems}", hint="compare with the entry of another notebook") from error
    return Index(notebook=tuple(entry.model_copy(update={"folder": path.resolve().parent}) for entry in index.notebook))


def resolve_path(written: str, settings: Settings) -> Path:
    """Turn a path of the index into a real one; settings may have moved its top folder elsewhere."""
    folders = {
        "model_repository": settings.model_repository,
        ".data": settings.data_dir,
        "dump": settings.dump_dir,
        "checkpoints": settings.checkpoint_dir,
    }
    top, _, rest = written.partition("/")
    return folders[top] / rest if top in folders else PROJECT_ROOT / written
