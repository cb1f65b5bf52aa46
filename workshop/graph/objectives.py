"""What GraphSAGE is trained for: categories (supervised) or links (unsupervised).

An objective knows its mini-batches, its loss and how to score a model on held-out data; the loop that uses them is
:func:`workshop.graph.training.fit`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name PyTorch users know
import torch_geometric.typing
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.loader import LinkLoader, NeighborLoader, NodeLoader
from torch_geometric.sampler import NegativeSampling

from workshop.errors import DataInvalidError
from workshop.graph.graphsage import GraphSAGE
from workshop.graph.inference import accuracy, infer_layerwise
from workshop.graph.sampling import CSRGraph, NeighborhoodSampler

TEMPERATURE = 0.1
"""Cosines span only -1 to 1; divided by this, their differences can make the ranking loss small."""


class Objective(Protocol):
    """What the training loop asks for."""

    monitored: str
    """The metric whose best epoch is kept; larger is better."""

    def batches(self, epoch: int) -> Iterator[Data]:
        """The epoch's mini-batches, the same for the same epoch."""

    def num_batches(self) -> int:
        """Mini-batches an epoch."""

    def loss(self, model: GraphSAGE, batch: Data) -> Tensor:
        """Mean loss of a mini-batch, on the model's device."""

    def score(self, model: GraphSAGE) -> dict[str, float]:
        """Metrics on held-out data, ``monitored`` among them."""


class CategoryObjective:
    """Predict the category of the training products (cross entropy), scored by accuracy over all neighbours.

    Batches come from PyG's ``NodeLoader`` with our sampler, or from its compiled ``NeighborLoader`` where ``pyg-lib``
    is installed.

    Args:
        data: ``x``, ``edge_index``, ``y`` and the masks, checked.
        csr: the same graph by target.
        fan_out: neighbours a node, one number a layer.
        batch_size: training products a batch.
        seed: seed of order and sampling.
    """

    monitored = "val_accuracy"

    def __init__(self, data: Data, csr: CSRGraph, fan_out: tuple[int, ...], batch_size: int, seed: int) -> None:
        self.data = data
        self.csr = csr
        self.y = data.y.view(-1)
        self.masks = {f"{split}_accuracy": data[f"{split}_mask"] for split in ("train", "val")}
        self.seed = seed
        self.order = torch.Generator()
        self.sampler = NeighborhoodSampler(csr, fan_out, seed)
        batch_options = {"batch_size": batch_size, "shuffle": True, "generator": self.order}
        graph = Data(x=data.x, edge_index=data.edge_index, y=self.y)
        if torch_geometric.typing.WITH_PYG_LIB:
            self.loader = NeighborLoader(graph, list(fan_out), data.train_mask, **batch_options)
        else:
            self.loader = NodeLoader(graph, self.sampler, data.train_mask, **batch_options)

    def batches(self, epoch: int) -> Iterator[Data]:
        """Training products in a new order, each batch with its sampled neighbourhood."""
        self.order.manual_seed(_epoch_seed(self.seed, epoch))
        self.sampler.set_epoch(epoch)
        return iter(self.loader)

    def num_batches(self) -> int:
        """Mini-batches an epoch."""
        return len(self.loader)

    def loss(self, model: GraphSAGE, batch: Data) -> Tensor:
        """Cross entropy of the batch's own products."""
        logits = model(batch.x, batch.edge_index, batch.num_sampled_nodes, batch.num_sampled_edges)
        return F.cross_entropy(logits, batch.y[: batch.batch_size])

    def score(self, model: GraphSAGE) -> dict[str, float]:
        """Accuracy on the training and on the validation products."""
        _, logits = infer_layerwise(model, self.data.x, self.csr)
        return accuracy(logits, self.y, self.masks)


class LinkObjective:
    """Place a product nearer to what it is bought with than to a random product; needs no categories.

    As in the paper's unsupervised setting, linked nodes attract and random ones repel. Similarity is the cosine, as in
    the recommenders, and the loss the pairwise ranking loss of BPR (Rendle et al., 2009,
    https://arxiv.org/abs/1205.2618), which needs no threshold between similar and not. A share of the links is held
    out: it is neither trained on nor used to pass messages.

    Args:
        data: ``x`` and ``edge_index``, checked.
        fan_out: neighbours a node, one number a layer; the last layer makes logits and takes no part.
        batch_size: links a batch; each brings one random product.
        links_per_epoch: links drawn from the training links for one epoch.
        held_out: share of the links kept for validation.
        seed: seed of split, order, negatives and sampling.
    """

    monitored = "val_auc"

    def __init__(
        self, data: Data, fan_out: tuple[int, ...], batch_size: int, links_per_epoch: int, held_out: float, seed: int
    ) -> None:
        self.seed = seed
        self.batch_size = batch_size
        self.graph = Data(x=data.x, edge_index=data.edge_index)
        links = _undirected_links(data.edge_index, data.num_nodes)
        n_val = max(1, int(held_out * links.shape[1]))
        if n_val >= links.shape[1]:
            raise DataInvalidError(f"edge_index: {links.shape[1]} distinct links are too few to hold {n_val} out")
        order = torch.randperm(links.shape[1], generator=torch.Generator().manual_seed(seed))
        self.val_links, self.train_links = links[:, order[:n_val]], links[:, order[n_val:]]
        both_ways = torch.cat([self.train_links, self.train_links.flip(0)], dim=1)
        self.csr = CSRGraph.from_edge_index(both_ways, data.num_nodes)
        self.sampler = NeighborhoodSampler(self.csr, fan_out[:-1], seed)
        self.links_per_epoch = min(links_per_epoch, self.train_links.shape[1])
        rng = np.random.default_rng(seed)
        self.val_pairs = torch.cat(
            [self.val_links, torch.from_numpy(rng.integers(0, data.num_nodes, self.val_links.shape))], dim=1
        )

    def batches(self, epoch: int) -> Iterator[Data]:
        """Some training links in a new order, a random product for each, and the sampled neighbourhood of all three."""
        generator = torch.Generator().manual_seed(_epoch_seed(self.seed, epoch))
        chosen = torch.randperm(self.train_links.shape[1], generator=generator)[: self.links_per_epoch]
        self.sampler.set_epoch(epoch)
        loader = LinkLoader(
            self.graph,
            self.sampler,
            edge_label_index=self.train_links[:, chosen],
            neg_sampling=NegativeSampling("triplet", 1),
            batch_size=self.batch_size,
            generator=generator,
        )
        return iter(loader)

    def num_batches(self) -> int:
        """Mini-batches an epoch."""
        return -(-self.links_per_epoch // self.batch_size)

    def loss(self, model: GraphSAGE, batch: Data) -> Tensor:
        """Mean of ``-log sigmoid`` of how much more similar the linked product is than the random one."""
        embedding = model.encode(batch.x, batch.edge_index, batch.num_sampled_nodes, batch.num_sampled_edges)
        source = embedding[batch.src_index]
        linked = F.cosine_similarity(source, embedding[batch.dst_pos_index])
        random = F.cosine_similarity(source, embedding[batch.dst_neg_index])
        return F.softplus((random - linked) / TEMPERATURE).mean()

    def score(self, model: GraphSAGE) -> dict[str, float]:
        """Area under the ROC curve of the model's embeddings; held-out links pass no messages."""
        return {self.monitored: self.auc(infer_layerwise(model, self.graph.x, self.csr)[0])}

    def auc(self, embedding: Tensor) -> float:
        """Area under the ROC curve: cosine similarity of held-out links against that of as many random pairs.

        Args:
            embedding: float ``[nodes, width]``.
        """
        similarity = F.cosine_similarity(embedding[self.val_pairs[0]], embedding[self.val_pairs[1]])
        is_link = np.arange(self.val_pairs.shape[1]) < self.val_links.shape[1]
        return float(roc_auc_score(is_link, similarity.numpy()))


def _undirected_links(edge_index: Tensor, num_nodes: int) -> Tensor:
    """Each linked pair of different nodes once, int64 ``[2, links]``."""
    low, high = edge_index.sort(dim=0).values
    keys = torch.unique((low * num_nodes + high)[low != high])
    return torch.stack([keys // num_nodes, keys % num_nodes])


def _epoch_seed(seed: int, epoch: int) -> int:
    """Well-spread 32-bit seed for an epoch of a run."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
