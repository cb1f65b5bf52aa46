"""Stacks of their own whose repositories hold text models, so that nothing needs to have been traced before, and the
rates of embedding with them."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from workshop.settings import Settings, load_settings
from workshop.stack.private import private_settings
from workshop.text.prepare import prepare_sentence_bert, prepare_zero_shot
from workshop.text.prepare_forms import FormMaker

ROUNDS = 3
TEXT_ENSEMBLES = ("text_embedding", "zero_shot_text")  # with the models they are made of: every text model


def text_settings(directory: Path) -> Settings:
    """Trace the text models into ``directory``; the settings of a private stack that serves them."""
    source_repository = load_settings().model_repository
    settings = private_settings(directory / "stack", model_repository=directory / "repository")
    for name in ("text_tokenizer", "zero_shot_tokenizer"):
        code = settings.model_repository / name / "1" / "model.py"
        code.parent.mkdir(parents=True)
        code.write_text((source_repository / name / "1" / "model.py").read_text())
    prepare_sentence_bert(settings)
    prepare_zero_shot(settings)
    return settings


@contextmanager
def one_form(name: str) -> Iterator[tuple[Settings, FormMaker]]:
    """Settings of a private stack whose repository holds one form of the sentence model, and what made it."""
    with tempfile.TemporaryDirectory() as folder:
        settings = private_settings(Path(folder) / "stack", model_repository=Path(folder) / "models")
        settings.model_repository.mkdir()
        maker = FormMaker(settings)
        maker.make(name)
        yield settings, maker


def rate(embed: Callable[[list[str]], object], texts: list[str]) -> float:
    """Texts per second of one pass."""
    started = time.perf_counter()
    embed(texts)
    return len(texts) / (time.perf_counter() - started)


def compared(ours: Callable[[], float], theirs: Callable[[], float]) -> tuple[float, float, float]:
    """Median rates of both, and the median of their ratios, measured in turn so that noise meets both."""
    ours(), theirs()
    pairs = [(ours(), theirs()) for _ in range(ROUNDS)]
    ratio = statistics.median(mine / other for mine, other in pairs)
    return statistics.median(mine for mine, _ in pairs), statistics.median(other for _, other in pairs), ratio
