"""Peers that do not import beside the workshop's own packages: environments of their own, and processes in them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from workshop.settings import Settings

FOLDER = Path(__file__).resolve().parent
# what a served model has too, so that both sides run under the same conditions
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true", "GOMP_SPINCOUNT": "1000"}


def environment(settings: Settings, name: str) -> Path:
    """The Python of the environment that ``NAME.txt`` describes; made at first use, which takes minutes.

    Raises:
        subprocess.CalledProcessError: pip could not install it.
    """
    requirements = FOLDER / f"{name}.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    folder = settings.data_dir.resolve() / "peers" / f"{name}-{digest}"
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.is_file():
        print(f"making the environment of {name}, once", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        options = ["--quiet", "--disable-pip-version-check", "--requirement", str(requirements)]
        subprocess.run([python, "-m", "pip", "install", *options], check=True)
        done.touch()
    return python


def exported_model(settings: Settings, source: Path) -> Path:
    """A copy of a sentence-transformers model with its ONNX and OpenVINO files; made at first use."""
    script = FOLDER / "export_onnx.py"
    digest = hashlib.sha256(f"{source}\n{script.read_text()}".encode()).hexdigest()[:12]
    folder = settings.data_dir.resolve() / "peers" / f"model-{digest}"
    done = folder / "exported"
    if not done.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)
        command = [environment(settings, "backends"), script, folder]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, **ENVIRONMENT})
        done.touch()
    return folder


class TextPeer:
    """A process that embeds texts its own way; use it in a ``with`` block.

    Args:
        python: of the environment it needs.
        variant: one of ``VARIANTS`` in ``embed_texts.py``.
        model: the model's folder.
        texts: what it embeds.
        folder: where texts and vectors are kept; its own.
    """

    def __init__(self, python: Path, variant: str, model: Path, texts: Sequence[str], folder: Path) -> None:
        self.variant = variant
        self.count = len(texts)
        self.batch = 32
        self._texts = folder / f"{variant.replace(' ', '-')}.json"
        self._texts.write_text(json.dumps(list(texts)))
        self._log = self._texts.with_suffix(".log").open("w+")
        self._process = subprocess.Popen(
            [python, FOLDER / "embed_texts.py", variant, model, self._texts, str(os.cpu_count())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **ENVIRONMENT},
        )

    def __enter__(self) -> TextPeer:
        if self._answer() != "ready":
            raise RuntimeError(f"{self.variant} did not start")
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()
        self._log.close()

    def rate(self, count: int | None = None, batch: int | None = None) -> float:
        """Texts a second over the first ``count`` texts."""
        count = count or self.count
        self._process.stdin.write(f"{batch or self.batch} {count}\n")
        self._process.stdin.flush()
        return count / float(self._answer())

    def tune(self, batches: Sequence[int], count: int) -> None:
        """Keep the batch size that embeds the first ``count`` texts fastest."""
        self.batch = max(batches, key=lambda batch: self.rate(count, batch))

    def vectors(self) -> np.ndarray:
        """The vectors of the last round; after the ``with`` block."""
        return np.load(self._texts.with_suffix(".npy"))

    def _answer(self) -> str:
        line = self._process.stdout.readline().strip()
        if not line:
            self._log.seek(0)
            raise RuntimeError(f"{self.variant} ended: {self._log.read()[-500:]}")
        return line
