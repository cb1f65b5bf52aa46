"""Simple node classifiers: each finds what it looks at, in the features or in the links."""

import pytest
import torch
from torch_geometric.data import Data

from workshop.graph.baselines import METHODS, accuracy_of

NODES, CLASSES = 600, 3


@pytest.fixture(scope="module")
def labels():
    return torch.arange(NODES) % CLASSES


def graph(labels, *, features_tell, links_tell):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(NODES, 8, generator=generator)
    x = noise + 5 * torch.eye(8)[labels] if features_tell else noise
    source = torch.randint(NODES, (2_400,), generator=generator)
    target = torch.randint(NODES // CLASSES, (2_400,), generator=generator) * CLASSES
    target = target + (source % CLASSES if links_tell else torch.randint(CLASSES, (2_400,), generator=generator))
    edges = torch.stack([source, target])
    part = torch.randperm(NODES, generator=generator)
    masks = {name: torch.zeros(NODES, dtype=torch.bool) for name in ("train_mask", "val_mask", "test_mask")}
    for mask, members in zip(masks.values(), part.split([180, 120, 300]), strict=True):
        mask[members] = True
    return Data(x=x, edge_index=torch.cat([edges, edges.flip(0)], dim=1), y=labels, **masks)


@pytest.mark.parametrize(
    ("features_tell", "links_tell", "able", "unable"),
    [
        (True, False, {"logistic regression", "MLP"}, {"label propagation", "SGC"}),
        (False, True, {"label propagation"}, {"logistic regression", "MLP"}),
        (True, True, set(METHODS) - {"majority class"}, {"majority class"}),
    ],
)
def test_each_method_finds_what_it_looks_at(labels, features_tell, links_tell, able, unable):
    data = graph(labels, features_tell=features_tell, links_tell=links_tell)
    accuracy = {name: accuracy_of(method(data), data, data.test_mask) for name, method in METHODS.items()}
    good = {name for name, value in accuracy.items() if value > 0.85}
    assert able <= good
    assert not unable & good


def test_majority_class_is_that_of_the_training_nodes():
    y = torch.tensor([2, 2, 1, 0, 0, 0])
    train = torch.tensor([True, True, True, False, False, False])
    data = Data(x=torch.zeros(6, 1), y=y, train_mask=train, test_mask=~train)
    predicted = METHODS["majority class"](data)
    assert predicted.tolist() == [2] * 6
    assert accuracy_of(predicted, data, data.test_mask) == 0
    assert accuracy_of(predicted, data, data.train_mask) == pytest.approx(2 / 3)
