"""The tiny catalogue, the real text model in this process, and every movie query once more in plain Python."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from arango.database import StandardDatabase

from workshop.data.movies import Movie, MovieCatalogue
from workshop.recommend.movie_terms import Weights
from workshop.recommend.movies import ERA_YEARS, LEAST_SIMILARITY, LINKS, USUAL_VOTES, MovieFilters
from workshop.settings import Settings
from workshop.store.connection import connect
from workshop.text.sentence_bert import load_sentence_bert
from workshop.text.sources import minilm_source


def fresh_database(settings: Settings, name: str) -> StandardDatabase:
    """An empty database of that name."""
    system = connect(settings, database="_system")
    if system.has_database(name):
        system.delete_database(name)
    return connect(settings, database=name)


def local_embedder() -> Callable[[list[str]], np.ndarray]:
    """MiniLM in fp32, in this process."""
    source = minilm_source()
    model, tokenizer = load_sentence_bert(source, "fp32"), source.tokenizer()

    def embed(texts: list[str]) -> np.ndarray:
        input_ids, mask = tokenizer(texts)
        with torch.inference_mode():
            return model(torch.from_numpy(input_ids), torch.from_numpy(mask)).numpy()

    return embed


@dataclass
class PlainMovies:
    """The recommender's queries over Python lists: the oracle the store is compared with."""

    catalogue: MovieCatalogue
    vectors: dict[str, np.ndarray]
    links: dict[str, set[tuple[str, str]]] = field(init=False)

    def __post_init__(self) -> None:
        self.links = defaultdict(set)
        for kind in ("acted_in", "directed"):
            for edge in getattr(self.catalogue, kind):
                self.links[edge.target].add((kind, edge.source))
        for kind in ("has_keyword", "produced_by"):
            for edge in getattr(self.catalogue, kind):
                self.links[edge.source].add((kind, edge.target))

    def cosine(self, one: np.ndarray, other: np.ndarray) -> float:
        return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))

    def passing(self, filters: MovieFilters) -> list[str]:
        return [
            movie.key
            for movie in self.catalogue.movies
            if (filters.year_from is None or (movie.year or 0) >= filters.year_from)
            and (filters.year_to is None or (movie.year is not None and movie.year <= filters.year_to))
            and (filters.language is None or movie.language == filters.language)
            and (filters.genre is None or filters.genre in movie.genres)
        ]

    def nearest(
        self, vector: np.ndarray, filters: MovieFilters, limit: int, exclude: str | None = None
    ) -> list[tuple[str, float]]:
        scored = [(key, self.cosine(self.vectors[key], vector)) for key in self.passing(filters) if key != exclude]
        return sorted(scored, key=lambda item: -item[1])[:limit]

    def recommend(
        self,
        weights: Weights,
        *,
        liked: Sequence[str] = (),
        disliked: Sequence[str] = (),
        wish: np.ndarray | None = None,
        filters: MovieFilters | None = None,
        limit: int = 10,
        pool: int = 100,
        links: Sequence[str] = LINKS,
    ) -> list[dict[str, Any]]:
        movies = {movie.key: movie for movie in self.catalogue.movies}
        parts = [np.mean([unit(self.vectors[key]) for key in liked], axis=0)] if liked else []
        taste = np.mean([unit(part) for part in (*parts, *(() if wish is None else (wish,)))], axis=0)
        passing = set(self.passing(filters or MovieFilters())) - {*liked, *disliked}
        near = [key for key, _ in self.nearest(taste, MovieFilters(), len(movies)) if key in passing][:pool]
        if not liked and self.cosine(self.vectors[near[0]], taste) < LEAST_SIMILARITY:
            return []
        things = self._shared(liked, weights, links)
        total = {movie: sum(weight for *_, weight in found) for movie, found in things.items()}
        linked = sorted(total, key=lambda movie: (-total[movie], f"movies/{movie}"))[:pool]
        companies = {movie: sum(w for kind, _, _, w in things[movie] if kind == "produced_by") for movie in linked}
        strongest = max([1.0, *(total[movie] - companies[movie] for movie in linked)])
        years = [movies[key].year for key in liked]
        genres = {genre for key in liked for genre in movies[key].genres}
        known = [
            key
            for key in passing
            if liked
            and min(years) - ERA_YEARS <= movies[key].year <= max(years) + ERA_YEARS
            and genres & set(movies[key].genres)
        ]
        known = sorted(known, key=lambda key: (-movies[key].vote_count, key))[:pool]
        found = {*near, *known, *linked} & passing
        most = max(movies[key].vote_count for key in found)
        mean = np.mean([movies[key].vote_average for key in found if movies[key].vote_count])
        rows = []
        for key in found:
            movie = movies[key]
            terms = {
                "similarity": self.cosine(self.vectors[key], taste),
                "shared_weight": (total[key] - companies[key]) / strongest if key in linked else 0.0,
                "genre_overlap": float(np.mean([jaccard(movie, movies[other]) for other in liked] or [0.0])),
                "same_company": min(1.0, companies[key]) if key in linked else 0.0,
                "era": float(np.mean([math.exp(-abs(movie.year - year) / ERA_YEARS) for year in years] or [0.0])),
                "renown": math.log(1 + movie.vote_count) / math.log(1 + most),
                "liking": (movie.vote_count * movie.vote_average + USUAL_VOTES * mean)
                / (movie.vote_count + USUAL_VOTES)
                / 10,
                "same_language": float(np.mean([movies[other].language == movie.language for other in liked] or [0.0])),
                "dislike": max(
                    [
                        (max(0.0, self.cosine(self.vectors[key], self.vectors[other])) + jaccard(movie, movies[other]))
                        / 2
                        for other in disliked
                    ],
                    default=0.0,
                ),
                "repetition": 0.0,
            }
            told = [
                (kind, name, number, w / (max(1.0, companies[key]) if kind == "produced_by" else strongest))
                for kind, name, number, w in (things[key] if key in linked else [])
            ]
            rows.append({"key": key, "score": weights.score(terms), "terms": terms, "shared": told})
        rows = sorted(rows, key=lambda row: (-row["score"], row["key"]))[: 2 * limit if weights.variety else limit]
        for place in range(len(rows) - 1, 0, -1) if weights.variety else ():
            better = [self.vectors[row["key"]] for row in rows[: min(place, limit)]]
            repetition = max(max(0.0, self.cosine(self.vectors[rows[place]["key"]], vector)) for vector in better)
            rows[place]["terms"]["repetition"] = repetition
            rows[place]["score"] -= weights.variety * repetition
        return sorted(rows, key=lambda row: (-row["score"], row["key"]))[:limit]

    def _shared(
        self, liked: Sequence[str], weights: Weights, links: Sequence[str]
    ) -> dict[str, list[tuple[str, str, int, float]]]:
        """What each movie shares with the liked ones: kind of link, name, number of movies that have it, weight."""
        # a person who directed and acted is one vertex, reached over two edges
        vertex = {"acted_in": "person", "directed": "person"}
        sharers = defaultdict(set)
        for movie, things in self.links.items():
            for kind, thing in things:
                sharers[vertex.get(kind, kind), thing].add(movie)
        names = {("person", item.key): item.name for item in self.catalogue.people}
        names |= {("has_keyword", item.key): item.name for item in self.catalogue.keywords}
        names |= {("produced_by", item.key): item.name for item in self.catalogue.companies}
        found = defaultdict(list)
        for kind, thing in sorted({pair for key in liked for pair in self.links[key]}):
            having = sum((kind, thing) in self.links[key] for key in liked)
            others = sharers[vertex.get(kind, kind), thing] - set(liked)
            number = having + len(others)
            evidence = number / (number + weights.keyword_evidence) if kind == "has_keyword" else 1
            for other in others if kind in links else ():
                weight = having / len(liked) * evidence / math.log(3 + number)
                found[other].append((kind, names[vertex.get(kind, kind), thing], number, weight))
        return found


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def jaccard(one: Movie, other: Movie) -> float:
    every = {*one.genres, *other.genres}
    return len(set(one.genres) & set(other.genres)) / max(1, len(every))
