"""Simple ways to classify the nodes of a graph, to hold a graph network against.

Each takes a PyG graph with ``x``, ``edge_index``, ``y`` and the three masks, chooses its parameters on the validation
nodes, and returns the accuracy on the test nodes. The scaling of features is learned from the training nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch_geometric.data import Data
from torch_geometric.nn import LabelPropagation
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import to_scipy_sparse_matrix

REGULARIZATIONS = (0.01, 0.1, 1.0)
HOPS = (1, 2, 3)


def logistic_regression(data: Data) -> float:
    """Logistic regression on the features alone."""
    return _best_classifier(data, ((data.x.numpy(), _regression(c)) for c in REGULARIZATIONS))


def mlp(data: Data, *, seed: int = 0) -> float:
    """A multilayer perceptron on the features alone, stopped early on a tenth of the training nodes."""
    sizes = ((128,), (256,), (256, 256))
    networks = (MLPClassifier(size, early_stopping=True, max_iter=300, random_state=seed) for size in sizes)
    return _best_classifier(data, ((data.x.numpy(), make_pipeline(StandardScaler(), network)) for network in networks))


def sgc(data: Data) -> float:
    """Features smoothed over ``k`` hops, then logistic regression.

    Wu et al. 2019, "Simplifying graph convolutional networks", https://arxiv.org/abs/1902.07153.
    """
    index, weight = gcn_norm(data.edge_index, None, data.num_nodes)
    adjacency = to_scipy_sparse_matrix(index, weight, data.num_nodes).tocsr()
    smoothed = [data.x.numpy()]
    for _ in range(max(HOPS)):
        smoothed.append(adjacency @ smoothed[-1])
    choices = ((smoothed[hops], _regression(c)) for hops in HOPS for c in REGULARIZATIONS)
    return _best_classifier(data, choices)


def label_propagation(data: Data) -> float:
    """The labels of the training nodes spread along the edges; the features are not looked at.

    Zhu and Ghahramani 2002, "Learning from labeled and unlabeled data with label propagation".
    """
    reached = []
    for layers in (3, 10, 50):
        for alpha in (0.5, 0.9, 0.99):
            scores = LabelPropagation(layers, alpha)(data.y, data.edge_index, mask=data.train_mask)
            right = scores.argmax(dim=-1) == data.y
            reached.append((_share(right, data.val_mask), _share(right, data.test_mask)))
    return max(reached)[1]


METHODS: dict[str, Callable[[Data], float]] = {
    "logistic regression": logistic_regression,
    "MLP": mlp,
    "label propagation": label_propagation,
    "SGC": sgc,
}


def _regression(c: float) -> LogisticRegression:
    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=500))


def _best_classifier(data: Data, choices: Iterable[tuple[np.ndarray, object]]) -> float:
    """Test accuracy of the choice, features and a scikit-learn classifier, that is best on the validation nodes."""
    y = data.y.numpy()
    reached = []
    for x, classifier in choices:
        classifier.fit(x[data.train_mask.numpy()], y[data.train_mask.numpy()])
        right = torch.from_numpy(classifier.predict(x) == y)
        reached.append((_share(right, data.val_mask), _share(right, data.test_mask)))
    return max(reached)[1]


def _share(right: torch.Tensor, mask: torch.Tensor) -> float:
    return float(np.mean(right[mask].numpy()))
