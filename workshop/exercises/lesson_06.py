"""Checks of `06_recommend_movies`. They compare a query with what the store holds, whatever was loaded into it."""

from __future__ import annotations

from arango.database import StandardDatabase
from arango.exceptions import AQLQueryExecuteError, AQLQueryValidateError

from workshop.exercises.answers import RefusedError, call, number, shown
from workshop.exercises.checking import Exercise
from workshop.exercises.verdict import Findings, right, wrong
from workshop.recommend.movie_graph import MovieCollections

FIRST_YEAR, LAST_YEAR, VOTES, BEST = 1990, 1999, 1000, 5
RATINGS = """
FOR movie IN @@movies
  FILTER movie.year != null
  RETURN [movie.title, movie.year, movie.vote_count, movie.vote_average]
"""
MOST_KEYWORDS = """
FOR link IN @@has_keyword
  COLLECT movie = link._from WITH COUNT INTO keywords
  SORT keywords DESC, movie
  LIMIT 2
  RETURN movie
"""
SHARED_KEYWORDS = """
FOR mine IN @@has_keyword
  FILTER mine._from == @movie
  FOR theirs IN @@has_keyword
    FILTER theirs._to == mine._to AND theirs._from != @movie
    COLLECT movie = theirs._from WITH COUNT INTO shared
    SORT shared DESC
    RETURN [DOCUMENT(movie).title, shared]
"""


def best_of_the_nineties(answer: object, *, database: StandardDatabase, collections: MovieCollections) -> Findings:
    """A query for the titles of the best-rated films of the decade that have enough votes."""
    found = _rows(database, collections, answer)
    films = _executed(database, collections, RATINGS)
    if not all(isinstance(title, str) for title in found):
        raise RefusedError(f"the query should return titles, and its first row is {shown(found[0])}")
    passed = [film for film in films if FIRST_YEAR <= (film[1] or 0) <= LAST_YEAR and film[2] > VOTES]
    ratings = {title: rating for title, _, _, rating in sorted(passed, key=lambda film: film[3])}
    expected = sorted((film[3] for film in passed), reverse=True)[:BEST]
    if len(found) != len(expected):
        yield wrong(f"{len(expected)} films are asked for, and {len(found)} come back")
    if strange := [title for title in found if title not in ratings]:
        years = sorted({film[1] for film in films if film[0] == strange[0]})
        yield wrong(f"{shown(strange[0])} ({', '.join(map(str, years))}) is not of the nineties, or has too few votes")
        return
    yield right("all are films of the nineties with enough votes")
    rated = [ratings[title] for title in found]
    if rated == expected:
        yield right("and no film that passes is rated better")
    elif rated == sorted(expected):
        yield wrong("these are the best, with the best at the end")
    else:
        yield wrong(f"the first is rated {rated[0]:.1f}, and films that pass are rated better: what was sorted?")


def shared_keywords(answer: object, *, database: StandardDatabase, collections: MovieCollections) -> Findings:
    """A query for the films that share most keywords with ``@movie``, as ``{title, shared}``."""
    if not isinstance(answer, str) or "@movie" not in answer:
        raise RefusedError("the answer should be the text of a query with `@movie` in it")
    for movie in _executed(database, collections, MOST_KEYWORDS):
        title = next(iter(database.aql.execute("RETURN DOCUMENT(@movie).title", bind_vars={"movie": movie})))
        truth = _executed(database, collections, SHARED_KEYWORDS, movie=movie)
        found = _rows(database, collections, answer, movie=movie)
        if any(not isinstance(row, dict) or set(row) != {"title", "shared"} for row in found):
            raise RefusedError(f"a row should be {{ title, shared }}, and is {shown(found[0])}")
        yield from _compared_counts(found, truth, f"for `{title}`")


def _compared_counts(found: list[dict], truth: list[list], when: str) -> Findings:
    pairs, expected = [[row["title"], row["shared"]] for row in found], [shared for _, shared in truth[:BEST]]
    if len(found) != len(expected):
        yield wrong(f"{when} {len(expected)} films are asked for, and {len(found)} come back")
    if strange := [pair for pair in pairs if pair not in truth]:
        film, count = strange[0]
        yield wrong(f"{when} it counts {count} for {shown(film)}, which is not the number of keywords they share")
    elif (counts := [shared for _, shared in pairs])[: len(expected)] == expected:
        yield right(f"{when} the numbers are right, and no film shares more")
    else:
        yield wrong(f"{when} the numbers are right ({counts[:BEST]}), and there are films that share more")


def fusion(answer: object) -> Findings:
    """A function ``(rankings, k)`` that does reciprocal rank fusion and returns ``(item, score)`` pairs, best first."""
    cases = {
        "two rankings": ([["a", "b", "c", "d"], ["c", "a", "e"]], 60),
        "three rankings and a small k": ([["a", "b", "c"], ["d", "b"], ["b", "a", "c", "e"]], 1),
        "one ranking": ([["x", "y"]], 60),
    }
    for name, (rankings, k) in cases.items():
        found = call(answer, [list(ranking) for ranking in rankings], k)
        if not isinstance(found, list | tuple) or not all(isinstance(p, list | tuple) and len(p) == 2 for p in found):
            raise RefusedError(f"{name}: expected pairs of item and score, and got {shown(found)}")
        yield from _compared_fusion([(item, number(score, "a score")) for item, score in found], rankings, k, name)


def _compared_fusion(found: list[tuple], rankings: list[list[str]], k: int, name: str) -> Findings:
    expected, later = _fused(rankings, k), _fused(rankings, k - 1)
    scores = dict(found)
    if missing := set(expected) - set(scores):
        yield wrong(f"{name}: {len(missing)} items are missing that one of the rankings has")
    elif set(scores) != set(expected) or len(found) != len(expected):
        yield wrong(f"{name}: each item should be there once, and nothing else")
    elif any(abs(scores[item] - expected[item]) > 1e-9 for item in expected):
        if k > 1 and all(abs(scores[item] - later[item]) < 1e-9 for item in expected):
            yield wrong(f"{name}: the first place counts 1 / k here; places begin at 1")
        else:
            yield wrong(f"{name}: the sums are not right with k = {k}")
    elif [score for _, score in found] != sorted(scores.values(), reverse=True):
        yield wrong(f"{name}: the sums are right, and the largest does not come first")
    else:
        yield right(f"{name}: sums and order are right")


def _fused(rankings: list[list[str]], k: int) -> dict[str, float]:
    items = {item for ranking in rankings for item in ranking}
    return {item: sum(1 / (k + 1 + ranking.index(item)) for ranking in rankings if item in ranking) for item in items}


def _executed(database: StandardDatabase, collections: MovieCollections, query: str, **bind_vars: object) -> list:
    return list(database.aql.execute(query, bind_vars={**collections.bind_vars(query), **bind_vars}))


def _rows(database: StandardDatabase, collections: MovieCollections, query: object, **bind_vars: object) -> list:
    if not isinstance(query, str):
        raise RefusedError(f"the answer should be the text of a query, and is {shown(query)}")
    try:
        rows = _executed(database, collections, query, **bind_vars)
    except (AQLQueryExecuteError, AQLQueryValidateError) as error:
        raise RefusedError(f"the store refuses the query: {shown(error.error_message, 200)}") from error
    if not rows:
        raise RefusedError("the query runs and returns nothing")
    return rows


EXERCISES = {
    "1": Exercise("Set `nineties` in the cell above to the text of a query.", best_of_the_nineties),
    "2": Exercise("Set `by_keywords` in the cell above to the text of a query with `@movie`.", shared_keywords),
    "3": Exercise("Give `fuse` a body that returns pairs.", fusion),
}
