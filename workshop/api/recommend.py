"""Routes that recommend films and products, by the recommenders that the notebooks and the demo have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

from arango.database import StandardDatabase
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from workshop.api.requests import error_body, read_body
from workshop.errors import (
    DataInvalidError,
    ServingTimeoutError,
    StoreSchemaError,
    StoreTimeoutError,
    UnknownKeyError,
    WorkshopError,
)
from workshop.recommend.connections import MOVIES_REMEDY, PRODUCTS_REMEDY, Connections, missing_vectors
from workshop.recommend.movies import LONGEST_WISH, MovieFilters
from workshop.recommend.product_graph import PRODUCT_COLLECTIONS
from workshop.recommend.recommendation import Recommendation

LARGEST_K = 100
MOST_KEYS = 20
"""Films that are liked, or products of a basket, in one request; each costs the store a part of a second."""
THREADS = 8
"""Requests that are computed at once, in threads of their own: a store that hangs holds up no other route."""

_STATUS: tuple[tuple[type[WorkshopError] | tuple[type[WorkshopError], ...], int, str | None], ...] = (
    (UnknownKeyError, 404, "unknown_key"),
    (DataInvalidError, 400, None),
    (StoreSchemaError, 503, "catalogue_not_loaded"),
    ((StoreTimeoutError, ServingTimeoutError), 504, None),
    (WorkshopError, 503, None),  # a server is away, or lacks the model
)


# --- what is asked ------------------------------------------------------------------------------------------------
def _whole(text: str) -> str:
    """A text that can be sent on: JSON may hold half of a surrogate pair, UTF-8 may not."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("expected Unicode, received half of a surrogate pair") from None
    return text


Text = Annotated[str, AfterValidator(_whole)]
Keys = Annotated[list[Text], Field(min_length=1, max_length=MOST_KEYS)]
Year = Annotated[int, Field(ge=0, le=9999)]


class _Request(BaseModel):
    """A field that is not listed is refused: a filter with a slip in its name would not filter."""

    model_config = ConfigDict(extra="forbid")


class Filters(_Request):
    """The fields of :class:`workshop.recommend.movies.MovieFilters`."""

    year_from: Year | None = None
    year_to: Year | None = None
    language: Text | None = None
    genre: Text | None = None


class FilmsRequest(_Request):
    """``POST /v1/recommend/films``."""

    wish: Annotated[Text, Field(max_length=LONGEST_WISH)] | None = None
    liked: Keys | None = None
    filters: Filters = Filters()
    k: int = Field(10, ge=1, le=LARGEST_K)

    @model_validator(mode="after")
    def _one_question(self) -> FilmsRequest:
        _check_one_of(self, "wish", "liked")
        return self


class ProductsRequest(_Request):
    """``POST /v1/recommend/products``."""

    key: Text | None = None
    basket: Keys | None = None
    k: int = Field(10, ge=1, le=LARGEST_K)

    @model_validator(mode="after")
    def _one_question(self) -> ProductsRequest:
        _check_one_of(self, "key", "basket")
        return self


def _check_one_of(asked: _Request, one: str, other: str) -> None:
    if (getattr(asked, one) is None) == (getattr(asked, other) is None):
        raise ValueError(f"expected exactly one of {one} and {other}")


# --- routes -------------------------------------------------------------------------------------------------------
async def films(request: Request) -> Response:
    """``POST /v1/recommend/films``: for a wish in plain words, or for films that were liked."""
    asked = FilmsRequest.model_validate(await read_body(request))
    connections: Connections = request.app.state.connections

    def ask() -> list[Recommendation]:
        filters = MovieFilters(**dict(asked.filters))
        return connections.movies.recommend(asked.wish or "", liked=asked.liked or (), filters=filters, limit=asked.k)

    def check() -> None:
        _check_loaded(connections.database(), connections.movie_collections.movies, MOVIES_REMEDY)

    return await _answer(request, ask, check)


async def products(request: Request) -> Response:
    """``POST /v1/recommend/products``: what goes with a product, or with all products of a basket."""
    asked = ProductsRequest.model_validate(await read_body(request))
    connections: Connections = request.app.state.connections

    def ask() -> list[Recommendation]:
        if asked.key is not None:
            return connections.products.recommend(asked.key, limit=asked.k)
        return connections.products.recommend_for_basket(asked.basket, limit=asked.k)

    def check() -> None:
        _check_loaded(connections.products_database, PRODUCT_COLLECTIONS.products, PRODUCTS_REMEDY)

    return await _answer(request, ask, check)


async def _answer(request: Request, ask: Callable[[], list[Recommendation]], check: Callable[[], None]) -> Response:
    """What ``ask`` finds, or why it cannot.

    ``check`` is for when it finds nothing, and raises where that is because no catalogue is loaded.
    """

    def found_in_catalogue() -> list[Recommendation]:
        try:
            found = ask()
        except (StoreSchemaError, UnknownKeyError):
            check()
            raise
        if not found:
            check()
        return found

    try:
        found = await asyncio.get_running_loop().run_in_executor(request.app.state.threads, found_in_catalogue)
    except WorkshopError as error:
        status, code = next((status, code) for types, status, code in _STATUS if isinstance(error, types))
        kind = "invalid_request_error" if status < 500 else "server_error"
        return JSONResponse(error_body(str(error), kind, code=code), status)
    return JSONResponse({"object": "list", "data": [_row(item) for item in found]})


def _check_loaded(database: StandardDatabase, collection: str, remedy: str) -> None:
    if lacking := missing_vectors(database, collection):
        raise StoreSchemaError(lacking, hint=remedy)


def _row(item: Recommendation) -> dict[str, object]:
    why = [{"said": str(reason), **asdict(reason)} for reason in item.reasons]
    return {"key": item.key, "title": item.title, "score": item.score, "why": why}
