"""Simple ways to classify the nodes of a graph, to hold a graph network against.

Each takes a PyG graph with ``x``, ``edge_index``, ``y`` and the masks of training and validation nodes, chooses its
parameters on the validation nodes, and returns the category it gives every node, int64 ``[nodes]``. The scaling of
features is learned from the training nodes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch_geometric.data import Data
from torch_geometric.nn import LabelPropagation
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import to_scipy_sparse_matrix, to_torch_csr_tensor

REGULARIZATIONS = (0.01, 0.1, 1.0)
HOPS = (1, 2, 3)


def majority_class(data: Data) -> torch.Tensor:
    """The largest category of the training nodes, for every node."""
    return data.y[data.train_mask].bincount().argmax().repeat(data.num_nodes)


def logistic_regression(data: Data) -> torch.Tensor:
    """Logistic regression on the features alone."""
    return _best(data, _classified(data, ((data.x.numpy(), _regression(c)) for c in REGULARIZATIONS)))


def mlp(data: Data, *, seed: int = 0) -> torch.Tensor:
    """A multilayer perceptron on the features alone, stopped early on a tenth of the training nodes."""
    sizes = ((128,), (256,), (256, 256))
    networks = (MLPClassifier(size, early_stopping=True, max_iter=300, random_state=seed) for size in sizes)
    choices = ((data.x.numpy(), make_pipeline(StandardScaler(), network)) for network in networks)
    return _best(data, _classified(data, choices))


def sgc(data: Data) -> torch.Tensor:
    """Features smoothed over ``k`` hops, then logistic regression.

    Wu et al. 2019, "Simplifying graph convolutional networks", https://arxiv.org/abs/1902.07153.
    """
    index, weight = gcn_norm(data.edge_index, None, data.num_nodes)
    adjacency = to_scipy_sparse_matrix(index, weight, data.num_nodes).tocsr()
    smoothed = [data.x.numpy()]
    for _ in range(max(HOPS)):
        smoothed.append(adjacency @ smoothed[-1])
    return _best(data, _classified(data, ((smoothed[hops], _regression(c)) for hops in HOPS for c in REGULARIZATIONS)))


def label_propagation(data: Data) -> torch.Tensor:
    """The labels of the training nodes spread along the edges; the features are not looked at.

    Zhu and Ghahramani 2002, "Learning from labeled and unlabeled data with label propagation".
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse (CSR tensor support is in beta|invariant checks)")
        to_target = to_torch_csr_tensor(data.edge_index.flip(0), size=(data.num_nodes, data.num_nodes))
        choices = (
            LabelPropagation(layers, alpha)(data.y, to_target, mask=data.train_mask).argmax(dim=-1)
            for layers in (3, 10, 50)
            for alpha in (0.5, 0.9, 0.99)
        )
        return _best(data, choices)


METHODS: dict[str, Callable[[Data], torch.Tensor]] = {
    "majority class": majority_class,
    "logistic regression": logistic_regression,
    "MLP": mlp,
    "label propagation": label_propagation,
    "SGC": sgc,
}


def accuracy_of(predicted: torch.Tensor, data: Data, mask: torch.Tensor) -> float:
    """Share of the nodes in ``mask`` (bool ``[nodes]``) whose category is the predicted one (int64 ``[nodes]``)."""
    return float((predicted == data.y)[mask].double().mean())


def _regression(c: float) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=500))


def _classified(data: Data, choices: Iterable[tuple[np.ndarray, Pipeline]]) -> Iterable[torch.Tensor]:
    """What each choice, features and a scikit-learn classifier, says of every node once it is fitted."""
    train = data.train_mask.numpy()
    for x, classifier in choices:
        yield torch.from_numpy(classifier.fit(x[train], data.y.numpy()[train]).predict(x))


def _best(data: Data, predictions: Iterable[torch.Tensor]) -> torch.Tensor:
    """The predictions that are right most often on the validation nodes; the first of equals."""
    return max(predictions, key=lambda predicted: accuracy_of(predicted, data, data.val_mask))
