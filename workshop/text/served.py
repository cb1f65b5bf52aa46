"""The encoding and the tokenizer of a served text model, as the server names them."""

from __future__ import annotations

from pathlib import Path

from workshop.errors import RepositoryError
from workshop.files import sha256_of
from workshop.text.encoding import TOKENIZER_FILE, TextEncoding
from workshop.text.tokenization import TextTokenizer
from workshop.triton.artefact import model_folder, version_folders
from workshop.triton.client import TritonClient


def served_encoding(client: TritonClient, model: str) -> TextEncoding:
    """How a served model encodes texts, asked anew each time: another one may have been loaded under the same name.

    Raises:
        RepositoryError: the served configuration does not say so.
        ServingError: as :meth:`TritonClient.signature`.
    """
    return TextEncoding.from_parameters(model, client.signature(model, fresh=True).parameters)


def served_tokenizer(client: TritonClient, model: str, tokenizer_file: Path | None = None) -> TextTokenizer:
    """The tokenizer of a served model, with the model's limits and prompt.

    Args:
        client: where the model is served; the file is looked for in its model repository.
        model: name of the served model.
        tokenizer_file: the model's ``tokenizer.json``, for a machine that has no copy of the model repository.

    Raises:
        RepositoryError: the served model does not say how it encodes texts, or no file has the hash that it names.
        ServingError: as :meth:`TritonClient.signature`.
    """
    encoding = served_encoding(client, model)
    path = tokenizer_file or _find(client.model_repository, model, encoding.tokenizer_sha256)
    if (found := sha256_of(path)) != encoding.tokenizer_sha256:
        raise RepositoryError(
            f"{path} is not the tokenizer of the served model {model!r}: expected SHA-256 "
            f"{encoding.tokenizer_sha256}, found {found}",
            hint=f"take {TOKENIZER_FILE} from the version folder of {model} in the server's model repository",
        )
    return TextTokenizer(str(path), encoding.max_tokens, encoding.pad_token_id, encoding.prompt)


def _find(repository: Path | None, model: str, sha256: str) -> Path:
    if repository is None:
        raise RepositoryError(
            f"the tokenizer of the served model {model!r} is needed, and the client knows no model repository",
            hint="TritonClient.from_settings(settings), or pass tokenizer_file=...",
        )
    folder = model_folder(repository, model)
    versions = version_folders(folder) if folder.is_dir() else []
    found = [version / TOKENIZER_FILE for version in versions if (version / TOKENIZER_FILE).is_file()]
    for path in reversed(found):
        if sha256_of(path) == sha256:
            return path
    raise RepositoryError(
        f"{folder} holds no {TOKENIZER_FILE} with the SHA-256 {sha256} that the served model names "
        f"({len(found)} with another one)",
        hint="the server has another model repository, or loaded the model before it was traced again: "
        "client.load_model(name), or pass tokenizer_file=...",
    )
