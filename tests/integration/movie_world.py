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

from workshop.data.movies import MovieCatalogue
from workshop.recommend.movies import LINKS, MovieFilters, Weights
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
        for edge in self.catalogue.has_keyword:
            self.links[edge.source].add(("has_keyword", edge.target))

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

    def hybrid(
        self, key: str, weights: Weights, limit: int, pool: int, links: Sequence[str] = LINKS
    ) -> list[dict[str, Any]]:
        movies = {movie.key: movie for movie in self.catalogue.movies}
        source = movies[key]
        # a person who directed and acted is one vertex, reached over two edges
        sharers = defaultdict(set)
        for movie, things in self.links.items():
            for kind, thing in things:
                sharers["person" if kind != "has_keyword" else kind, thing].add(movie)
        names = {("person", item.key): item.name for item in self.catalogue.people}
        names |= {("has_keyword", item.key): item.name for item in self.catalogue.keywords}
        reasons = defaultdict(list)
        for kind, thing in self.links[key]:
            vertex = ("person" if kind != "has_keyword" else kind, thing)
            others = sharers[vertex] - {key}
            if not others or kind not in links:
                continue
            weight = 1 / math.log(3 + len(others | {key}))
            for other in others:
                reasons[other].append((weight, kind, names[vertex]))
        total = {movie: sum(weight for weight, _, _ in found) for movie, found in reasons.items()}
        linked = sorted(total, key=lambda movie: (-total[movie], f"movies/{movie}"))[:pool]
        near = [movie for movie, _ in self.nearest(self.vectors[key], MovieFilters(), pool, exclude=key)]
        rows = []
        for movie in {*near, *linked}:
            shared_genres = set(movies[movie].genres) & set(source.genres)
            all_genres = set(movies[movie].genres) | set(source.genres)
            graph = total[movie] / total[linked[0]] if movie in linked else 0.0
            similarity = self.cosine(self.vectors[movie], self.vectors[key])
            overlap = len(shared_genres) / len(all_genres) if all_genres else 0.0
            rows.append(
                {
                    "key": movie,
                    "score": weights.text * similarity + weights.graph * graph + weights.genre * overlap,
                    "reasons": sorted(reasons[movie], reverse=True) if movie in linked else [],
                    "shared_genres": tuple(sorted(shared_genres)),
                }
            )
        return sorted(rows, key=lambda row: (-row["score"], row["key"]))[:limit]
