"""Train GraphSAGE on any PyG ``Data``: mini-batches, early stopping, and a state to resume from after each epoch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch_geometric.data import Data
from tqdm import tqdm

from workshop.errors import CheckpointError, DataInvalidError, ModelError
from workshop.graph.architecture import FAN_OUT, Architecture
from workshop.graph.checkpoint import load_training_state, save_training_state
from workshop.graph.checks import check_edge_index
from workshop.graph.graphsage import GraphSAGE
from workshop.graph.objectives import CategoryObjective, LinkObjective, Objective
from workshop.graph.sampling import CSRGraph, check_fan_out

log = logging.getLogger(__name__)

Task = Literal["categories", "links"]


@dataclass(frozen=True)
class TrainingConfig:
    """How to train; the defaults follow OGB's ogbn-products example.

    Attributes:
        task: ``categories`` learns from ``y``, ``links`` from ``edge_index`` alone.
        num_classes: width of the logits; ``None`` takes the largest category of ``y`` plus one. A ``links`` training
            makes none: its last layer has width 1 and stays as it began.
        hidden_channels: width of the embedding.
        fan_out: neighbours a node for hop 1, 2, ...; its length is the number of layers.
        dropout: share of hidden values zeroed while training.
        learning_rate: of Adam.
        batch_size: training products, or links, a step.
        max_epochs: the last epoch to run.
        patience: epochs without a better validation score before stopping.
        links_per_epoch: links a ``links`` epoch draws.
        held_out_links: share of the links a ``links`` training validates on.
        seed: of initial weights, order, sampling, negatives and dropout. On a CPU, with one number of threads, a seed
            gives the same weights every time.
    """

    task: Task = "categories"
    num_classes: int | None = None
    hidden_channels: int = 256
    fan_out: tuple[int, ...] = FAN_OUT
    dropout: float = 0.5
    learning_rate: float = 0.003
    batch_size: int = 1024
    max_epochs: int = 20
    patience: int = 10
    links_per_epoch: int = 20_000
    held_out_links: float = 0.05
    seed: int = 0


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch did: mean loss, scores on held-out data, wall time in seconds of training and of scoring."""

    epoch: int
    loss: float
    scores: dict[str, float]
    train_seconds: float
    score_seconds: float


@dataclass(frozen=True)
class TrainingResult:
    """The model of the best epoch, on the CPU and in evaluation mode, and the curve that led there."""

    model: GraphSAGE
    history: list[EpochRecord]
    best_epoch: int
    best_score: float


@dataclass
class _State:
    """Everything that changes while training, so that saving it is enough to resume."""

    model: GraphSAGE
    optimizer: torch.optim.Optimizer
    history: list[EpochRecord] = field(default_factory=list)
    best_epoch: int = -1
    best_score: float = float("-inf")
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)

    def note_epoch(self, record: EpochRecord, monitored: str) -> None:
        """Add the record; keep the weights when they are the best so far."""
        self.history.append(record)
        if record.scores[monitored] > self.best_score:
            self.best_epoch, self.best_score = record.epoch, record.scores[monitored]
            self.best_weights = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}


def fit(
    data: Data,
    config: TrainingConfig | None = None,
    *,
    state_path: Path | None = None,
    resume: bool = False,
    device: str | torch.device = "cpu",
    progress: bool = True,
    on_epoch: Callable[[EpochRecord], None] | None = None,
) -> TrainingResult:
    """Train a GraphSAGE on a graph.

    Works for any homogeneous PyG ``Data`` on the CPU, such as ``Planetoid`` or ``ogbn-products``:

    - ``x``: finite floats ``[nodes, features]``;
    - ``edge_index``: integers ``[2, edges]``, messages flow from row 0 to row 1; give both directions of an undirected
      edge;
    - for ``categories``: ``y``: integers ``[nodes]`` or ``[nodes, 1]``, and ``train_mask`` and ``val_mask``: bool
      ``[nodes]``. Nodes in neither mask still pass their features on.

    Args:
        data: the graph; it stays on the CPU, mini-batches go to ``device``.
        config: how to train; the defaults when left out.
        state_path: file that holds the training state after each epoch. Interrupted training loses one epoch at most.
        resume: continue from ``state_path`` when it exists. The outcome equals that of an uninterrupted training,
            on a CPU bit for bit. ``max_epochs`` and ``patience`` may differ from the first run.
        device: where the model runs.
        progress: show a progress bar.
        on_epoch: called after each epoch, when its state is on disk.

    Raises:
        DataInvalidError: ``data`` is not as described; the message says where.
        CheckpointError: the state on disk is damaged, or of another configuration or graph.
        ModelError: the loss is no longer finite.
    """
    config = config or TrainingConfig()
    if config.max_epochs < 1:
        raise ModelError(f"max_epochs: expected at least 1, received {config.max_epochs}")
    architecture = check_data(data, config)
    devices = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(config.seed)
        model = GraphSAGE(architecture, config.dropout).to(device)
        state = _State(model, torch.optim.Adam(model.parameters(), lr=config.learning_rate))
        identity = _identity(data, config, architecture)
        if resume and state_path is not None and state_path.exists():
            _restore(state, state_path, identity)
            log.info("resuming %s after epoch %d", state_path, len(state.history) - 1)
        objective = _objective(data, config)
        with _progress_bar(state, objective, config, progress) as bar:
            while not _finished(state, config):
                record = _run_epoch(state, objective, torch.device(device), bar)
                state.note_epoch(record, objective.monitored)
                if state_path is not None:
                    _save(state, state_path, identity)
                if on_epoch is not None:
                    on_epoch(record)
    model.load_state_dict(state.best_weights)
    return TrainingResult(model.cpu().eval(), state.history, state.best_epoch, state.best_score)


def check_data(data: Data, config: TrainingConfig) -> Architecture:
    """Check a graph against what :func:`fit` needs.

    Returns:
        The architecture it leads to.

    Raises:
        DataInvalidError: naming the field, what was expected and what was found.
    """
    check_fan_out(config.fan_out)
    x = _require(data, "x")
    if x.dim() != 2 or not x.is_floating_point():
        raise DataInvalidError(f"x: expected floats [nodes, features], received {x.dtype} {list(x.shape)}")
    bad_rows = (~x.isfinite()).any(dim=1)
    if bad_rows.any():
        raise DataInvalidError(
            f"x: {int(bad_rows.sum())} of {len(x)} nodes have features that are NaN or infinite; "
            f"the first is node {int(bad_rows.nonzero()[0])}",
            hint="x = torch.nan_to_num(x), if zero is a fair value for your features",
        )
    check_edge_index(_require(data, "edge_index").numpy(), len(x))
    num_classes = _check_labels(data, config.num_classes) if config.task == "categories" else 1
    return Architecture(x.shape[1], config.hidden_channels, num_classes, len(config.fan_out))


def _check_labels(data: Data, num_classes: int | None) -> int:
    """Number of categories, once ``y`` and the masks are found in order."""
    y, num_nodes = _require(data, "y"), len(data.x)
    if y.numel() != num_nodes or y.dtype.is_floating_point:
        raise DataInvalidError(f"y: expected integers [{num_nodes}], received {y.dtype} {list(y.shape)}")
    used = torch.zeros(num_nodes, dtype=torch.bool)
    for name in ("train_mask", "val_mask"):
        mask = _require(data, name)
        if mask.dtype != torch.bool or mask.shape != (num_nodes,) or not mask.any():
            raise DataInvalidError(
                f"{name}: expected bool [{num_nodes}] with some node set, received {mask.dtype} {list(mask.shape)} "
                f"with {int(mask.sum())} set",
                hint=f"data.{name} = data.{name}[:, 0] picks the first of several splits",
            )
        used |= mask
    labels = y.view(-1)[used]
    limit = num_classes or int(labels.max()) + 1
    if labels.min() < 0 or labels.max() >= limit:
        raise DataInvalidError(
            f"y: expected categories 0 to {limit - 1} in the masks, "
            f"received {int(labels.min())} to {int(labels.max())}",
            hint="leave unlabelled nodes out of the masks, or raise num_classes",
        )
    return limit


def _require(data: Data, name: str) -> torch.Tensor:
    value = data.get(name)
    if not isinstance(value, torch.Tensor):
        raise DataInvalidError(f"data: expected a tensor {name!r}, the graph has {sorted(data.keys())}")
    return value


def _objective(data: Data, config: TrainingConfig) -> Objective:
    if config.task == "links":
        return LinkObjective(
            data, config.fan_out, config.batch_size, config.links_per_epoch, config.held_out_links, config.seed
        )
    csr = CSRGraph.from_edge_index(data.edge_index, data.num_nodes)
    return CategoryObjective(data, csr, config.fan_out, config.batch_size, config.seed)


def _finished(state: _State, config: TrainingConfig) -> bool:
    done = len(state.history)
    return done >= config.max_epochs or (done > 0 and done - 1 - state.best_epoch >= config.patience)


def _progress_bar(state: _State, objective: Objective, config: TrainingConfig, show: bool) -> tqdm:
    batches = objective.num_batches()
    begun = len(state.history) * batches
    return tqdm(
        total=config.max_epochs * batches,
        initial=begun,
        unit="batch",
        desc="training",
        disable=not show,
        mininterval=2.0,  # each redraw stays in an executed notebook
    )


def _run_epoch(state: _State, objective: Objective, device: torch.device, bar: tqdm) -> EpochRecord:
    epoch, began = len(state.history), time.perf_counter()
    state.model.train()
    total = 0.0
    for batch in objective.batches(epoch):
        state.optimizer.zero_grad()
        loss = objective.loss(state.model, batch.to(device))
        if not loss.isfinite():
            raise ModelError(
                f"training diverged: the loss became {loss.item()} in epoch {epoch + 1}",
                hint=f"a learning rate below {state.optimizer.param_groups[0]['lr']}",
            )
        loss.backward()
        state.optimizer.step()
        total += loss.item()
        bar.update()
    trained = time.perf_counter()
    scores = objective.score(state.model)
    bar.set_postfix({"epoch": epoch + 1, **scores}, refresh=False)
    mean_loss = total / objective.num_batches()
    return EpochRecord(epoch, mean_loss, scores, trained - began, time.perf_counter() - trained)


def _identity(data: Data, config: TrainingConfig, architecture: Architecture) -> dict[str, Any]:
    """What a state must agree on to be continued."""
    free = replace(config, max_epochs=0, patience=0)
    edges = {"number": data.edge_index.shape[1], "checksum": int(data.edge_index.sum())}
    return {
        "architecture": asdict(architecture),
        "config": {**asdict(free), "fan_out": list(free.fan_out)},
        "nodes": data.num_nodes,
        "edges": edges,
    }


def _save(state: _State, path: Path, identity: dict[str, Any]) -> None:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    save_training_state(
        path,
        {
            "identity": identity,
            "model": state.model.state_dict(),
            "optimizer": state.optimizer.state_dict(),
            "random_state": {"cpu": torch.get_rng_state(), "cuda": cuda},
            "history": [asdict(record) for record in state.history],
            "best": {"epoch": state.best_epoch, "score": state.best_score, "weights": state.best_weights},
        },
    )


def _restore(state: _State, path: Path, identity: dict[str, Any]) -> None:
    saved = load_training_state(path)
    found = saved.get("identity")
    if found != identity:
        raise CheckpointError(
            f"{path}: this training needs {identity}, the file holds the state of {found}",
            hint="delete it to train anew, or give another state_path",
        )
    state.model.load_state_dict(saved["model"])
    state.optimizer.load_state_dict(saved["optimizer"])
    torch.set_rng_state(saved["random_state"]["cpu"])
    if saved["random_state"]["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(saved["random_state"]["cuda"])
    state.history = [EpochRecord(**record) for record in saved["history"]]
    best = saved["best"]
    state.best_epoch, state.best_score, state.best_weights = best["epoch"], best["score"], best["weights"]
