"""The tiny films and products with their vectors, in a store, and the models that made these in Triton."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from movie_world import fresh_database

from workshop.data.movies import load_movies
from workshop.data.products import load_products
from workshop.graph.checkpoint import save_model
from workshop.graph.product_training import CONFIGS, about_training
from workshop.graph.sampling import CSRGraph
from workshop.graph.served import trace_checkpoint
from workshop.graph.signature import GRAPHSAGE_PRODUCTS
from workshop.graph.training import fit
from workshop.recommend.movie_graph import MOVIES, load_movie_graph
from workshop.recommend.product_graph import embed_catalogue, load_product_graph
from workshop.settings import Settings, load_settings
from workshop.store.embeddings import embed_collection
from workshop.text.embedder import TextEmbedder
from workshop.text.prepare import prepare_sentence_bert
from workshop.text.signatures import SENTENCE_BERT
from workshop.triton.artefact import served_sidecar
from workshop.triton.client import TritonClient


def both_servers(local_stack: Settings, local_store: Settings, database: str) -> Settings:
    """Settings of the running Triton and the running store, for the tiny catalogues of a database."""
    return local_stack.model_copy(
        update={
            "stack_dir": local_store.stack_dir,
            "arango_port": local_store.arango_port,
            "arango_database": database,
            "data_size": "tiny",
            "data_dir": load_settings().data_dir,
        }
    )


def stock(settings: Settings, client: TritonClient, folder: Path) -> None:
    """Load and embed both catalogues, in the databases that the services look into.

    Args:
        settings: of :func:`both_servers`.
        client: of the Triton.
        folder: for the catalogue of products and the weights.
    """
    prepare_sentence_bert(settings)
    products = load_products(load_settings(data_dir=folder), "tiny")
    model = fit(products.to_data(), replace(CONFIGS["tiny"], max_epochs=2)).model
    checkpoint = folder / "model.safetensors"
    save_model(checkpoint, model, about_training(products, {}, 2))
    csr = CSRGraph.from_edge_index(products.edge_index, products.num_products)
    version = trace_checkpoint(checkpoint, products.x, csr, settings.model_repository).version_name
    for name in (SENTENCE_BERT.name, GRAPHSAGE_PRODUCTS.name):
        client.load_model(name)
    client.wait_ready(SENTENCE_BERT.name, GRAPHSAGE_PRODUCTS.name)
    films = fresh_database(settings, settings.arango_database)
    load_movie_graph(films, load_movies(settings, "tiny"))
    embed = TextEmbedder(client)
    name = served_sidecar(settings.model_repository, embed.model).version_name
    embed_collection(films, MOVIES, embed, model_version=name, dimension=embed.width)
    goods = fresh_database(settings, f"{settings.arango_database}_tiny")
    load_product_graph(goods, products)
    embed_catalogue(goods, client, products, model_version=version)
