"""Entries of the model repository for Hub models on the Python backend, made from one generic ``model.py`` a task."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workshop.errors import RepositoryError
from workshop.files import write_text
from workshop.text.generation.hub import HubModel
from workshop.text.generation.signatures import (
    STREAM_SUFFIX,
    classifier_signature,
    generator_signature,
    stream_signature,
)
from workshop.triton.artefact import model_folder
from workshop.triton.repository import read_config
from workshop.triton.signature import ModelSignature, write_config

MAKER_PARAMETER = "made_by"
MAKER = "create_repository"
DATA_DIR_VARIABLE = "WORKSHOP_DATA_DIR"
DEFAULT_MAX_LENGTH = 15

_SERVED = Path(__file__).parent / "served"
_GENERATION_FILES = (
    "generation_options.py",
    "generation_rows.py",
    "generation_torch.py",
    "generation_packed.py",
    "generation_llama_cpp.py",
)


@dataclass(frozen=True)
class Entry:
    """One folder to write into the repository.

    Attributes:
        signature: of the served model.
        files: name in the version folder to the file of this library that is copied there.
    """

    signature: ModelSignature
    files: dict[str, Path]

    @property
    def name(self) -> str:
        """The served model's name."""
        return self.signature.name


def entry_name(asked: str) -> str:
    """The served name of a Hub id or folder: its last part, with what Triton's names may not hold replaced.

    Raises:
        RepositoryError: nothing is left.
    """
    name = re.sub(r"[^A-Za-z0-9._-]", "_", Path(asked).name).strip("._")
    if not name:
        raise RepositoryError(f"no model name can be made of {asked!r}", hint="name the folder of the model")
    return name


def generator_entries(
    model: HubModel,
    data_dir: Path,
    *,
    max_length: int = DEFAULT_MAX_LENGTH,
    engine: str = "torch",
    precision: str = "fp32",
    gguf_file: Path | None = None,
    name: str = "",
) -> list[Entry]:
    """A generator and its streaming twin.

    Args:
        model: tokenizer and weights.
        data_dir: the workshop's data folder; models in it are named from the server's own view of that folder.
        max_length: tokens to generate when a request does not say.
        engine: ``torch`` or ``llama.cpp``.
        precision: of the torch engine.
        gguf_file: weights of the llama.cpp engine.
        name: of the entry; empty means that of the model.

    Raises:
        RepositoryError: ``max_length`` below 1, or the llama.cpp engine without its file.
    """
    if max_length < 1:
        raise RepositoryError(f"max_length must be at least 1, got {max_length}")
    parameters = {
        "huggingface_model": _server_path(model, data_dir),
        "max_length": str(max_length),
        "engine": engine,
        MAKER_PARAMETER: MAKER,
    }
    if engine == "torch":
        parameters["precision"] = precision
    elif gguf_file is None or not gguf_file.is_file():
        raise RepositoryError(f"engine {engine} needs a GGUF file, got {gguf_file}", hint="name one that is there")
    else:
        parameters["gguf_file"] = _in_data_dir(gguf_file.resolve(), data_dir)
    name = name or entry_name(model.asked)
    files = {"model.py": _SERVED / "text_generation.py", **{file: _SERVED / file for file in _GENERATION_FILES}}
    return [
        Entry(generator_signature(name, parameters), files),
        Entry(stream_signature(name + STREAM_SUFFIX, parameters), files),
    ]


def classifier_entry(model: HubModel, data_dir: Path, *, max_length: int = 0, name: str = "") -> Entry:
    """A sequence classifier; ``max_length`` is the most tokens of a text, 0 for as many as the model takes."""
    parameters = {
        "huggingface_model": _server_path(model, data_dir),
        "max_length": str(max_length),
        MAKER_PARAMETER: MAKER,
    }
    signature = classifier_signature(name or entry_name(model.asked), parameters)
    return Entry(signature, {"model.py": _SERVED / "text_classification.py"})


def _server_path(model: HubModel, data_dir: Path) -> str:
    """What the server loads the model by: its Hub id, or its folder."""
    return model.asked if model.from_hub else _in_data_dir(model.folder, data_dir)


def _in_data_dir(path: Path, data_dir: Path) -> str:
    """A path inside the data folder begins with a variable, since a container mounts that folder elsewhere."""
    data_dir = data_dir.resolve()
    return f"${{{DATA_DIR_VARIABLE}}}/{path.relative_to(data_dir)}" if path.is_relative_to(data_dir) else str(path)


def check_entries(entries: Sequence[Entry], repository: Path) -> None:
    """See that the entries can be written without touching anything that was not made here.

    Raises:
        RepositoryError: two entries share a name, or a folder of that name was made by somebody else.
    """
    names = [entry.name for entry in entries]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise RepositoryError(f"two models would be served as {', '.join(twice)}", hint="leave one of them out")
    for name in names:
        if (repository / name).exists() and not is_ours(repository / name):
            raise RepositoryError(
                f"{repository / name} is there and was not made by {MAKER}; it is left as it is",
                hint="serve the model from a folder of another name",
            )


def is_ours(folder: Path) -> bool:
    """Whether a folder of the repository is an entry that was made here."""
    try:
        config = read_config(folder)
    except RepositoryError:
        return False
    return config.parameters[MAKER_PARAMETER].string_value == MAKER if MAKER_PARAMETER in config.parameters else False


def write_entry(entry: Entry, repository: Path) -> Path:
    """Write or renew an entry; files that are the same stay untouched, and git ignores the folder. Returns it."""
    folder = model_folder(repository, entry.name)
    texts = {folder / "1" / name: source.read_text(encoding="utf-8") for name, source in entry.files.items()}
    for path, text in {folder / ".gitignore": "*\n", **texts}.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
    write_config(entry.signature, repository)
    return folder


def remove_entry(name: str, repository: Path) -> None:
    """Delete an entry that was made here.

    Raises:
        RepositoryError: there is none of that name, or somebody else made it.
    """
    folder = repository / name
    if Path(name).name != name or not folder.is_dir():
        raise RepositoryError(f"{repository} has no entry {name!r}")
    if not is_ours(folder):
        raise RepositoryError(f"{folder} was not made by {MAKER}; it is left as it is")
    shutil.rmtree(folder)
