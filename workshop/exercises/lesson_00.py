"""Checks of `00_check_setup`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pandas as pd
from arango.database import StandardDatabase

from workshop.exercises.answers import RefusedError, call, names, number, parts, shown
from workshop.exercises.checking import Exercise
from workshop.exercises.verdict import Findings, right, wrong
from workshop.triton.transport import ModelState

WISH = "a lonely robot"
RANKED = """
FOR movie IN movies
  FILTER movie.year != null AND movie.embedding != null
  RETURN [movie.title, movie.year, COSINE_SIMILARITY(movie.embedding, @vector)]
"""


def party(answer: object, *, timeline: pd.DataFrame) -> Findings:
    """``(party, share)`` of the party that takes longest. ``timeline``: ``step`` (``party: what``) and ``seconds``."""
    name, share = parts(answer, ("party", "share"))
    seconds = timeline.seconds.groupby(timeline.step.str.partition(":")[0]).sum()
    if name not in seconds.index:
        why = " That is one step; a party may have several." if name in set(timeline.step) else ""
        raise RefusedError(f"{shown(name)} is none of {', '.join(seconds.index)}.{why}")
    if name == seconds.idxmax():
        yield right("of the three, this party takes the most time")
    else:
        yield wrong(f"all steps of `{name}` take {1000 * seconds[name]:.1f} ms together, and another party takes more")
    value = number(share, "the share")
    if abs(value - seconds[name] / seconds.sum()) <= 0.01:
        yield right(f"{value:.0%} is its share of all steps")
    elif not 0 <= value <= 1:
        yield wrong(f"a share is between 0 and 1, and this is {value:.3g}: per cent, or seconds?")
    else:
        yield wrong(f"{value:.3f} is not the share of `{name}`: its steps together, divided by all steps together")


def ready_models(answer: object, *, states: Iterable[ModelState]) -> Findings:
    """Names of the models that are ready. ``states`` is what the server says now."""
    said = names(answer, "the answer")
    ready = {state.name: state.state == "READY" for state in states}
    if unknown := said - set(ready):
        yield wrong(f"the server knows no {shown(min(unknown))}")
    if idle := {name for name in said & set(ready) if not ready[name]}:
        yield wrong(f"{len(idle)} of your names are known but not loaded, `{min(idle)}` for one: it could not answer")
    missing = {name for name, is_ready in ready.items() if is_ready} - said
    if missing:
        yield wrong(f"{len(missing)} that could answer {'is' if len(missing) == 1 else 'are'} missing")
    if not unknown and not idle and not missing:
        yield right(f"these {len(said)} of {len(ready)} models are loaded")


def wish_from_year(
    answer: object, *, database: StandardDatabase, embed: Callable[[Sequence[str]], Sequence[Sequence[float]]]
) -> Findings:
    """A function of a wish and a year that gives the three nearest titles. ``database`` holds films with vectors."""
    films = list(database.aql.execute(RANKED, bind_vars={"vector": [float(x) for x in embed([WISH])[0]]}))
    films.sort(key=lambda film: -film[2])
    late = sorted((year for _, year, _ in films), reverse=True)[9]  # ten films are left: hardly any is near the wish
    for year, when in ((0, "all years"), (late, f"the years from {late} on")):
        expected = [title for title, of, _ in films if of >= year][:3]
        found = call(answer, WISH, year)
        if not isinstance(found, list | tuple) or not all(isinstance(title, str) for title in found):
            raise RefusedError(f"for {when} a list of titles is expected, and your function gives {shown(found)}")
        yield from _compared(list(found), expected, when, {title: of for title, of, _ in films}, year)


def _compared(found: list[str], expected: list[str], when: str, years: dict[str, int], year: int) -> Findings:
    if found == expected:
        yield right(f"for {when} these are the three nearest films, in their order")
    elif sorted(found) == sorted(expected):
        yield wrong(f"for {when} the films are right and their order is not: the nearest comes first")
    elif early := [title for title in found if years.get(title, year) < year]:
        yield wrong(f"for {when} there is {shown(early[0])} of {years[early[0]]}")
    elif len(found) < len(expected):
        yield wrong(f"for {when} there are {len(found)} films and the catalogue has more: when is the year looked at?")
    else:
        yield wrong(f"for {when} a nearer film is missing")


EXERCISES = {
    "1": Exercise('Fill in `longest` in the cell above, such as ("client", 0.25).', party),
    "2": Exercise("Set `ready` in the cell above to a list of names.", ready_models),
    "3": Exercise("Give `films_for` a body that returns three titles.", wish_from_year),
}
