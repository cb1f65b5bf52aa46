"""ogbn-products-mini: a synthetic co-purchase graph with the traits of ogbn-products.

Everything in it is made up. A product belongs to one sub-topic of one of ogbn-products' 47 categories; sub-topics
have complements in other categories (an espresso machine goes with espresso beans). From the sub-topic follow a
readable title, a description (a bag of words), and who is bought together with whom. What is kept of the original
(Hu et al. 2020, https://arxiv.org/abs/2005.00687, section 4.1): category names and their order, very uneven category
sizes, 100 features by PCA of the description's bag of words, a heavy-tailed degree distribution with hubs and
isolated products, most edges inside a category, and a split by sales rank (8 % train, 2 % validation, 90 % test).

It was tuned so that a graph network has something to win, and the simpler methods' scores were known when it was. Texts
say little: a regression on the features alone leaves much open, as a perceptron does on ogbn-products, where it reaches
0.61, and ``tests/unit/test_data_products_mini.py`` holds the generator to what neighbours add to it. In a first
version label propagation alone came within three points of GraphSAGE, so the links were made harder. A lead of one
method over another in this graph is therefore no evidence about real ones; it shows how the methods work.

How the task was made hard follows real co-purchase graphs; how much of each there is was a choice. Descriptions share
words with neighbouring categories. Links are noisy and not equally so: most products are bought with their like, some
with anything around them, so that the share of a product's neighbours in its own category runs from none to all (Mao et
al. 2023, https://arxiv.org/abs/2306.01323), around a mean not far below the 0.81 of ogbn-products. Links are missing:
one shows only when the two were bought together often enough, hence seldom between slow sellers. Many of the links that
leave a category join complements, which is what "bought together" is about (McAuley et al. 2015,
https://arxiv.org/abs/1506.08839). And a few products are filed under a sibling of the right category.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from importlib import resources

import numpy as np
import scipy.sparse as sp
from sklearn.decomposition import PCA

NUM_FEATURES = 100
SIZES = {"tiny": 1_000, "default": 20_000}
TRAIN_SHARE, VALID_SHARE = 0.08, 0.02

_WORD = re.compile(r"[a-z0-9]+(?:'s)?")


@dataclass(frozen=True)
class Recipe:
    """The numbers that give the graph its character: tuned so that a GNN has something to win, as said above."""

    candidate_edges_per_product: int = 6
    same_topic: float = 0.68  # of the links of a product to its like; the others stay in its category
    breadth: tuple[float, float] = (0.25, 1.3)  # Beta distribution of a product's share of links to anything around it
    complement: float = 0.95  # of those links; the others join any two products
    observation: float = 4.0  # a link shows with 1 - exp(-sqrt(popularity of one * of the other) / observation)
    popularity_tail: float = 1.5  # exponent of the Pareto distribution of popularity
    isolated_share: float = 0.015
    misfiled_share: float = 0.04
    mean_words: float = 11.0
    informative_words: tuple[float, float] = (1.1, 2.2)  # Beta distribution of a description's share of own words
    borrowed_words: float = 0.35  # share of the remaining words that come from a related sub-topic


@dataclass(frozen=True)
class Catalogue:
    """The vocabulary of ``product_topics.json`` as flat arrays; topics are numbered over all categories."""

    category_names: list[str]
    category_shares: np.ndarray  # [47] float64
    topic_names: list[str]
    topic_category: np.ndarray  # [topics] int64
    topic_nouns: list[list[str]]
    siblings: list[np.ndarray]  # per category: the other categories of its family
    related: list[np.ndarray]  # per topic: topics of the same family and complements
    complements: list[np.ndarray]  # per topic
    brands: list[str]
    styles: list[str]
    variants: list[str]
    filler_words: list[str]

    @cached_property
    def vocabulary(self) -> list[str]:
        """Every word a description can hold, sorted."""
        words = {word for nouns in self.topic_nouns for noun in nouns for word in words_of(noun)}
        return sorted(words | set(self.filler_words))


@dataclass(frozen=True)
class TextFeatures:
    """Bag of words -> TF-IDF -> PCA, as fitted on the catalogue; gives features to products that come later."""

    vocabulary: list[str]
    idf: np.ndarray  # [words] float64
    mean: np.ndarray  # [words] float64
    components: np.ndarray  # [NUM_FEATURES, words] float64
    scale: float

    def __call__(self, texts: list[str]) -> np.ndarray:
        """Features of free texts, ``float32 [len(texts), 100]``; words outside the vocabulary do not count."""
        position = {word: i for i, word in enumerate(self.vocabulary)}
        hits = [(row, position[word]) for row, text in enumerate(texts) for word in words_of(text) if word in position]
        rows, columns = np.array(hits, dtype=np.int64).reshape(-1, 2).T
        shape = (len(texts), len(self.vocabulary))
        return self.transform(sp.csr_matrix((np.ones(len(hits)), (rows, columns)), shape=shape))

    def transform(self, counts: sp.csr_matrix) -> np.ndarray:
        """Features of word counts ``[n, words]``, ``float32 [n, 100]``."""
        weighted = _tf_idf(counts, self.idf)
        return ((weighted @ self.components.T - self.mean @ self.components.T) * self.scale).astype(np.float32)


@dataclass(frozen=True)
class MiniProducts:
    """What the generator makes, as plain arrays; ``edge_index`` holds both directions of every edge."""

    x: np.ndarray  # [n, 100] float32
    edge_index: np.ndarray  # [2, edges] int64
    y: np.ndarray  # [n] int64
    split: dict[str, np.ndarray]
    titles: list[str]
    topics: list[str]
    category_names: list[str]
    sales_rank: np.ndarray  # [n] int64, 1 sells best
    text_features: TextFeatures


def words_of(text: str) -> list[str]:
    """Lower-case words of a text: ``"Children's 2-in-1"`` gives ``["children's", "2", "in", "1"]``."""
    return _WORD.findall(text.lower())


def load_catalogue() -> Catalogue:
    """Read the vocabulary that ships with the package."""
    raw = json.loads(resources.files("workshop.data").joinpath("product_topics.json").read_text("utf-8"))
    names = [category["name"] for category in raw["categories"]]
    topics = [
        (name, c, nouns) for c, category in enumerate(raw["categories"]) for name, nouns in category["topics"].items()
    ]
    number = {name: i for i, (name, _, _) in enumerate(topics)}
    topic_category = np.array([c for _, c, _ in topics])
    family = np.empty(len(names), dtype=np.int64)
    for f, members in enumerate(raw["families"]):
        family[[names.index(member) for member in members]] = f
    complements: list[set[int]] = [set() for _ in topics]
    for left, right in raw["complements"]:
        complements[number[left]].add(number[right])
        complements[number[right]].add(number[left])
    topic_family = family[topic_category]
    related = [
        np.array(sorted((set(np.flatnonzero(topic_family == topic_family[t]).tolist()) | complements[t]) - {t}))
        for t in range(len(topics))
    ]
    return Catalogue(
        category_names=names,
        category_shares=np.array([c["share"] for c in raw["categories"]], dtype=np.float64),
        topic_names=[name for name, _, _ in topics],
        topic_category=topic_category,
        topic_nouns=[nouns for _, _, nouns in topics],
        siblings=[np.setdiff1d(np.flatnonzero(family == family[c]), [c]) for c in range(len(names))],
        related=related,
        complements=[np.array(sorted(c)) for c in complements],
        filler_words=raw["filler_words"],
        **raw["title_words"],
    )


def generate(num_products: int, seed: int = 0, recipe: Recipe | None = None) -> MiniProducts:
    """Make a catalogue of ``num_products`` products; the same arguments give the same arrays."""
    recipe = recipe or Recipe()
    catalogue = load_catalogue()
    rng = np.random.default_rng(seed)
    topic = _draw_topics(catalogue, num_products, rng)
    popularity = _draw_popularity(num_products, recipe, rng)
    edge_index = _draw_edges(catalogue, topic, popularity, recipe, rng)
    counts, nouns = _draw_descriptions(catalogue, topic, recipe, rng)
    text_features = _fit_text_features(catalogue.vocabulary, counts)
    y = _file_under_category(catalogue, topic, recipe, rng)
    sales_rank = _rank_by_sales(popularity, rng)
    return MiniProducts(
        x=text_features.transform(counts),
        edge_index=edge_index,
        y=y,
        split=split_by_sales_rank(sales_rank),
        titles=_write_titles(catalogue, topic, nouns, rng),
        topics=[catalogue.topic_names[t] for t in topic],
        category_names=catalogue.category_names,
        sales_rank=sales_rank,
        text_features=text_features,
    )


def split_by_sales_rank(sales_rank: np.ndarray) -> dict[str, np.ndarray]:
    """OGB's split: train on the best sellers, validate on the next, test on all the others."""
    order = np.argsort(sales_rank, kind="stable").astype(np.int64)
    first = round(len(order) * TRAIN_SHARE)
    second = first + round(len(order) * VALID_SHARE)
    return {"train": order[:first], "valid": order[first:second], "test": order[second:]}


def _draw_topics(catalogue: Catalogue, num_products: int, rng: np.random.Generator) -> np.ndarray:
    """Sub-topic of each product, ``int64 [n]``: category by its share, topics inside it unevenly."""
    weights = np.empty(len(catalogue.topic_names))
    for c, share in enumerate(catalogue.category_shares):
        members = catalogue.topic_category == c
        weights[members] = share * rng.dirichlet(np.full(members.sum(), 6.0))
    at_least_one = np.arange(len(weights))
    rest = rng.choice(len(weights), size=num_products - len(weights), p=weights / weights.sum())
    return rng.permutation(np.concatenate([at_least_one, rest]))


def _draw_popularity(num_products: int, recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    """How strongly each product attracts co-purchases, ``float64 [n]``; zero means never bought together."""
    popularity = 1.0 + rng.pareto(recipe.popularity_tail, size=num_products)
    popularity = np.minimum(popularity, np.sqrt(num_products))
    slow_sellers = np.argsort(popularity)[: num_products // 2]
    never = rng.choice(slow_sellers, size=round(num_products * recipe.isolated_share), replace=False)
    popularity[never] = 0.0
    return popularity


def _draw_edges(
    catalogue: Catalogue, topic: np.ndarray, popularity: np.ndarray, recipe: Recipe, rng: np.random.Generator
) -> np.ndarray:
    """Symmetric edges without loops or duplicates, ``int64 [2, edges]``, sorted by source then target.

    The first end is drawn by popularity; the second, again by popularity, from a group of sub-topics that the kind of
    edge names (a degree-corrected block model, Karrer and Newman 2011). A product's breadth decides between links to
    its like and others, whichever end it is.
    """
    num_products, num_topics = len(topic), len(catalogue.topic_names)
    breadth = rng.beta(*recipe.breadth, size=num_products)
    order = np.lexsort((topic, catalogue.topic_category[topic]))  # topics of one category lie side by side
    any_product, its_like, around = (
        np.concatenate([[0.0], np.cumsum((popularity * share)[order])]) for share in (1.0, 1.0 - breadth, breadth)
    )
    topic_start = np.searchsorted(topic[order], np.arange(num_topics))
    topic_end = np.searchsorted(topic[order], np.arange(num_topics), side="right")
    first_topic = np.searchsorted(catalogue.topic_category, np.arange(len(catalogue.category_names)))
    last_topic = np.searchsorted(catalogue.topic_category, np.arange(len(catalogue.category_names)), side="right") - 1

    count = num_products * recipe.candidate_edges_per_product
    source = order[_draw_between(any_product, np.zeros(count, np.int64), np.full(count, num_products), rng)]
    own = topic[source]
    category = catalogue.topic_category[own]
    partner = _draw_from_lists(catalogue.complements, own, rng)
    broad, lot = rng.random(count) < breadth[source], rng.random(count)
    kinds = [~broad & (lot < recipe.same_topic), ~broad, broad & (lot < recipe.complement)]
    start = np.select(kinds, [topic_start[own], topic_start[first_topic[category]], topic_start[partner]], 0)
    end = np.select(kinds, [topic_end[own], topic_end[last_topic[category]], topic_end[partner]], num_products)
    target = order[np.where(broad, _draw_between(around, start, end, rng), _draw_between(its_like, start, end, rng))]

    possible = (popularity[target] > 0) & (source != target)
    low, high = np.minimum(source, target)[possible], np.maximum(source, target)[possible]
    pairs = np.unique(low * num_products + high)
    low, high = pairs // num_products, pairs % num_products
    shows = rng.random(len(pairs)) < -np.expm1(-np.sqrt(popularity[low] * popularity[high]) / recipe.observation)
    low, high = low[shows], high[shows]
    both = np.stack([np.concatenate([low, high]), np.concatenate([high, low])])
    return both[:, np.lexsort((both[1], both[0]))]


def _draw_between(cumulative: np.ndarray, start: np.ndarray, end: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One index in ``[start, end)`` per entry, with probability proportional to the weights behind ``cumulative``."""
    low, high = cumulative[start], cumulative[end]
    point = low + rng.random(len(start)) * (high - low)
    return np.clip(np.searchsorted(cumulative, point, side="right") - 1, start, end - 1)


def _draw_from_lists(lists: list[np.ndarray], which: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A uniform element of ``lists[which[i]]`` for every ``i``."""
    lengths = np.array([len(members) for members in lists])
    offsets = np.concatenate([[0], np.cumsum(lengths)])[:-1]
    picked = (rng.random(len(which)) * lengths[which]).astype(np.int64)
    return np.concatenate(lists)[offsets[which] + picked]


def _draw_descriptions(
    catalogue: Catalogue, topic: np.ndarray, recipe: Recipe, rng: np.random.Generator
) -> tuple[sp.csr_matrix, np.ndarray]:
    """Word counts of the descriptions ``[n, words]`` and the noun of each product ``int64 [n]``.

    A description mixes words of the product's own sub-topic, words borrowed from related ones, and filler.
    """
    position = {word: i for i, word in enumerate(catalogue.vocabulary)}
    topic_words = [
        np.array([position[word] for noun in nouns for word in words_of(noun)]) for nouns in catalogue.topic_nouns
    ]
    filler = np.array([position[word] for word in catalogue.filler_words])
    noun = (rng.random(len(topic)) * np.array([len(n) for n in catalogue.topic_nouns])[topic]).astype(np.int64)

    length = 3 + rng.poisson(recipe.mean_words - 3, size=len(topic))
    product = np.repeat(np.arange(len(topic)), length)
    informative = rng.beta(*recipe.informative_words, size=len(topic))
    lot = rng.random(len(product))
    is_own = lot < informative[product]
    is_borrowed = ~is_own & (rng.random(len(product)) < recipe.borrowed_words)
    source_topic = np.where(is_borrowed, _draw_from_lists(catalogue.related, topic[product], rng), topic[product])
    zipf = 1.0 / np.arange(1, len(filler) + 1)
    word = np.where(
        is_own | is_borrowed,
        _draw_from_lists(topic_words, source_topic, rng),
        rng.permutation(filler)[rng.choice(len(filler), size=len(product), p=zipf / zipf.sum())],
    )
    shape = (len(topic), len(position))
    return sp.csr_matrix((np.ones(len(word)), (product, word)), shape=shape), noun


def _tf_idf(counts: sp.csr_matrix, idf: np.ndarray) -> sp.csr_matrix:
    """Counts times inverse document frequency, rows of unit length (empty rows stay zero)."""
    weighted = counts @ sp.diags(idf)
    norms = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    return sp.diags(1.0 / np.where(norms > 0, norms, 1.0)) @ weighted


def _fit_text_features(vocabulary: list[str], counts: sp.csr_matrix) -> TextFeatures:
    """Fit TF-IDF and PCA; one common scale gives the features unit variance on average."""
    documents_with_word = np.asarray((counts > 0).sum(axis=0)).ravel()
    idf = np.log((1 + counts.shape[0]) / (1 + documents_with_word)) + 1
    weighted = _tf_idf(counts, idf)
    pca = PCA(NUM_FEATURES, svd_solver="covariance_eigh").fit(weighted)
    scale = 1.0 / np.sqrt(pca.explained_variance_.mean())
    return TextFeatures(vocabulary, idf, pca.mean_, pca.components_, float(scale))


def _file_under_category(
    catalogue: Catalogue, topic: np.ndarray, recipe: Recipe, rng: np.random.Generator
) -> np.ndarray:
    """Category label of each product, ``int64 [n]``; a few are filed under a sibling category."""
    category = catalogue.topic_category[topic]
    misfiled = rng.random(len(topic)) < recipe.misfiled_share
    return np.where(misfiled, _draw_from_lists(catalogue.siblings, category, rng), category)


def _rank_by_sales(popularity: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sales rank from 1: popularity with noise, because what is bought alone sells too."""
    sales = (popularity + 0.2) * rng.lognormal(sigma=0.8, size=len(popularity))
    rank = np.empty(len(sales), dtype=np.int64)
    rank[np.argsort(-sales, kind="stable")] = np.arange(1, len(sales) + 1)
    return rank


def _write_titles(catalogue: Catalogue, topic: np.ndarray, noun: np.ndarray, rng: np.random.Generator) -> list[str]:
    """Titles such as ``"Harbour Compact Espresso Machine, White"``."""
    brand, style, variant = (
        rng.choice(words, size=len(topic)) for words in (catalogue.brands, catalogue.styles, catalogue.variants)
    )
    return [
        f"{brand[i]} {style[i]} {catalogue.topic_nouns[topic[i]][noun[i]].title()}, {variant[i]}".replace("'S ", "'s ")
        for i in range(len(topic))
    ]
