"""Training: it learns, repeats itself, resumes bit for bit, stops early, and refuses data it cannot use."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch_geometric.typing
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch_geometric.data import Data
from torch_geometric.datasets import KarateClub
from torch_geometric.loader import NeighborLoader, NodeLoader

from workshop.errors import CheckpointError, DataInvalidError, ModelError
from workshop.graph.inference import accuracy, infer_layerwise
from workshop.graph.objectives import CategoryObjective, LinkObjective
from workshop.graph.sampling import CSRGraph, NeighborhoodSampler
from workshop.graph.training import EpochRecord, TrainingConfig, TrainingResult, check_data, fit

QUICK = TrainingConfig(hidden_channels=16, fan_out=(5, 5), batch_size=64, max_epochs=5, learning_rate=0.01)
LINKS = replace(QUICK, task="links", links_per_epoch=600)


def planted(num_nodes: int = 600, num_classes: int = 4, seed: int = 0) -> Data:
    """Weak features, strong homophily: neighbours tell more than a node's own features."""
    rng = np.random.default_rng(seed)
    y = np.sort(rng.integers(0, num_classes, num_nodes))
    source = rng.integers(0, num_nodes, num_nodes * 4)
    start, stop = np.searchsorted(y, y[source]), np.searchsorted(y, y[source], side="right")
    target = np.where(
        rng.random(len(source)) < 0.85, rng.integers(start, stop), rng.integers(0, num_nodes, len(source))
    )
    x = rng.normal(size=(num_classes, 8))[y] * 0.5 + rng.normal(size=(num_nodes, 8))
    part = torch.from_numpy(rng.random(num_nodes))
    return Data(
        x=torch.from_numpy(x).float(),
        edge_index=torch.from_numpy(np.stack([np.r_[source, target], np.r_[target, source]])),
        y=torch.from_numpy(y),
        train_mask=part < 0.3,
        val_mask=(part >= 0.3) & (part < 0.5),
        test_mask=part >= 0.5,
    )


@pytest.fixture(scope="module")
def data() -> Data:
    return planted()


def same_weights(one: TrainingResult, other: TrainingResult) -> bool:
    return all(torch.equal(value, other.model.state_dict()[name]) for name, value in one.model.state_dict().items())


def curve(result: TrainingResult) -> list[tuple[int, float, dict[str, float]]]:
    return [(record.epoch, record.loss, record.scores) for record in result.history]


# --- learning -------------------------------------------------------------------------------------------------
def test_categories_are_learnt_beyond_what_features_tell(data):
    result = fit(data, replace(QUICK, max_epochs=15), progress=False)
    csr = CSRGraph.from_edge_index(data.edge_index, data.num_nodes)
    _, logits = infer_layerwise(result.model, data.x, csr)
    baseline = LogisticRegression(max_iter=500).fit(data.x[data.train_mask], data.y[data.train_mask])
    features_only = baseline.score(data.x[data.test_mask], data.y[data.test_mask])
    assert accuracy(logits, data.y, {"test": data.test_mask})["test"] > features_only + 0.1
    losses = [record.loss for record in result.history]
    assert losses[-1] < losses[0] / 2


def test_links_are_learnt_without_categories(data):
    unlabelled = Data(x=data.x, edge_index=data.edge_index)
    result = fit(unlabelled, replace(LINKS, max_epochs=15), progress=False)
    pairs = LinkObjective(unlabelled, (5, 5), 64, 600, 0.05, LINKS.seed).val_pairs
    by_features = torch.cosine_similarity(data.x[pairs[0]], data.x[pairs[1]])
    is_link = torch.arange(pairs.shape[1]) < pairs.shape[1] // 2
    assert result.best_score > roc_auc_score(is_link, by_features) + 0.1
    assert set(result.history[0].scores) == {"val_auc"}


def test_held_out_links_pass_no_messages(data):
    objective = LinkObjective(data, (5, 5), 64, 600, 0.05, seed=0)
    csr, held_out = objective.csr, objective.val_links
    assert held_out.shape[1] > 50
    for source, target in held_out.t().tolist():
        assert source not in csr.indices[csr.indptr[target] : csr.indptr[target + 1]]
        assert target not in csr.indices[csr.indptr[source] : csr.indptr[source + 1]]


def test_kept_model_is_that_of_the_best_epoch(data):
    result = fit(data, replace(QUICK, max_epochs=10), progress=False)
    csr = CSRGraph.from_edge_index(data.edge_index, data.num_nodes)
    _, logits = infer_layerwise(result.model, data.x, csr)
    best = max(record.scores["val_accuracy"] for record in result.history)
    assert accuracy(logits, data.y, {"val": data.val_mask})["val"] == result.best_score == best
    assert result.history[result.best_epoch].scores["val_accuracy"] == best
    assert not result.model.training


def test_training_stops_when_patience_is_spent(data):
    result = fit(data, replace(QUICK, learning_rate=1e-12, dropout=0.0, max_epochs=50, patience=3), progress=False)
    assert result.best_epoch == 0
    assert len(result.history) == 4


def test_other_graphs_of_pyg_can_be_trained_on():
    """Labels as a column, as OGB has them; more classes asked for than there are; one layer more."""
    club = KarateClub()[0]
    train = torch.arange(club.num_nodes) % 2 == 0
    data = Data(x=club.x, edge_index=club.edge_index, y=club.y[:, None], train_mask=train, val_mask=~train)
    deeper = replace(QUICK, fan_out=(3, 3, -1, 2), num_classes=6, dropout=0.0, max_epochs=40, patience=40)
    result = fit(data, deeper, progress=False)
    assert result.model(club.x, club.edge_index).shape == (34, 6)
    assert result.history[-1].scores["train_accuracy"] > 0.9


def test_compiled_sampler_is_used_where_it_is_installed(data, monkeypatch):
    csr = CSRGraph.from_edge_index(data.edge_index, data.num_nodes)

    def loader(installed: bool) -> NodeLoader:
        monkeypatch.setattr(torch_geometric.typing, "WITH_PYG_LIB", installed)
        return CategoryObjective(data, csr, (5, 5), 64, seed=0).loader

    assert isinstance(loader(True), NeighborLoader)
    assert type(loader(False)) is NodeLoader
    assert isinstance(loader(False).node_sampler, NeighborhoodSampler)


# --- the same result ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("config", [QUICK, LINKS], ids=["categories", "links"])
def test_interrupted_training_resumes_to_the_same_bits(data, tmp_path, config):
    path = tmp_path / "state.pt"

    def interrupt(record: EpochRecord) -> None:
        if record.epoch == 2:
            raise KeyboardInterrupt

    whole = fit(data, config, progress=False)
    with pytest.raises(KeyboardInterrupt):
        fit(data, config, state_path=path, progress=False, on_epoch=interrupt)
    torch.rand(7)  # whatever else the process draws meanwhile
    resumed = fit(data, config, state_path=path, resume=True, progress=False)
    assert same_weights(whole, resumed)
    assert curve(whole) == curve(resumed)
    finished = fit(data, config, state_path=path, resume=True, progress=False)
    assert same_weights(whole, finished)
    assert len(finished.history) == config.max_epochs


def test_the_seed_decides(data):
    first, again, other = (fit(data, replace(QUICK, seed=seed, max_epochs=2), progress=False) for seed in (1, 1, 2))
    assert same_weights(first, again)
    assert not same_weights(first, other)


def test_training_leaves_the_callers_random_state_alone(data):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(data, replace(QUICK, max_epochs=1), progress=False)
    assert torch.equal(torch.rand(3), expected)


def test_without_resume_a_training_starts_anew(data, tmp_path):
    path = tmp_path / "state.pt"
    fit(data, replace(QUICK, max_epochs=3), state_path=path, progress=False)
    assert len(fit(data, replace(QUICK, max_epochs=2), state_path=path, progress=False).history) == 2


def test_state_of_another_training_is_refused(data, tmp_path):
    path = tmp_path / "state.pt"
    fit(data, replace(QUICK, max_epochs=1), state_path=path, progress=False)
    with pytest.raises(
        CheckpointError, match=r"'hidden_channels': 32.*the file holds the state of .*'hidden_channels': 16"
    ):
        fit(data, replace(QUICK, hidden_channels=32), state_path=path, resume=True, progress=False)
    with pytest.raises(CheckpointError, match="the file holds the state of"):
        fit(planted(seed=1), QUICK, state_path=path, resume=True, progress=False)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="not a training state"):
        fit(data, QUICK, state_path=path, resume=True, progress=False)


# --- bad data -------------------------------------------------------------------------------------------------
def broken(data: Data, **changes: torch.Tensor | None) -> Data:
    copy = data.clone()
    for name, value in changes.items():
        copy[name] = value
    return copy


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("x", lambda x: None, r"expected a tensor 'x', the graph has \["),
        ("x", lambda x: x.index_fill(0, torch.tensor([4, 9]), float("nan")), r"2 of 600 nodes .* first is node 4"),
        ("x", lambda x: x.long(), r"x: expected floats \[nodes, features\], received torch.int64"),
        ("edge_index", lambda e: e + 1, r"edges point outside the 600 nodes"),
        ("edge_index", lambda e: e.t(), r"expected integers of shape \[2, edges\]"),
        ("y", lambda y: y[:-1], r"y: expected integers \[600\], received torch.int64 \[599\]"),
        ("y", lambda y: y.float(), r"y: expected integers \[600\], received torch.float32"),
        ("y", lambda y: y - 1, r"y: expected categories 0 to 2 in the masks, received -1 to 2"),
        ("train_mask", lambda m: m.long(), r"train_mask: expected bool \[600\]"),
        ("train_mask", lambda m: m[:, None].repeat(1, 3), r"train_mask: .* \[600, 3\](.|\n)*picks the first"),
        ("val_mask", lambda m: m & False, r"val_mask: .* with 0 set"),
        ("val_mask", lambda m: None, r"expected a tensor 'val_mask'"),
    ],
)
def test_unusable_data_is_refused(data, field, change, message):
    with pytest.raises(DataInvalidError, match=message):
        fit(broken(data, **{field: change(data[field])}), QUICK, progress=False)


def test_more_categories_than_asked_for_are_refused(data):
    with pytest.raises(DataInvalidError, match="categories 0 to 2 in the masks, received 0 to 3"):
        check_data(data, replace(QUICK, num_classes=3))


def test_unlabelled_nodes_outside_the_masks_are_fine(data):
    y = torch.where(data.test_mask, -1, data.y)
    assert check_data(broken(data, y=y), QUICK).out_channels == 4


def test_too_few_links_to_hold_any_out():
    data = Data(x=torch.ones(2, 3), edge_index=torch.tensor([[0, 1], [1, 0]]))
    with pytest.raises(DataInvalidError, match="1 distinct links are too few"):
        fit(data, LINKS, progress=False)


def test_diverging_training_says_so(data):
    loud = broken(data, x=data.x * 1e30)
    with pytest.raises(
        ModelError, match=r"training diverged: the loss became (nan|inf) in epoch \d(.|\n)*below 1e\+30"
    ):
        fit(loud, replace(QUICK, learning_rate=1e30), progress=False)


def test_no_epochs_are_no_training(data):
    with pytest.raises(ModelError, match="max_epochs: expected at least 1, received 0"):
        fit(data, replace(QUICK, max_epochs=0), progress=False)
