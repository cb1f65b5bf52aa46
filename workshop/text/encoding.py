"""How texts become token ids and vectors for one model. Without torch, so that clients can import it.

The facts are written into the served model's ``config.pbtxt`` as parameters: whoever reaches the server can read them,
and the sidecar repeats them beside the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Literal, get_args, get_type_hints

from workshop.errors import RepositoryError
from workshop.triton.artefact import RENEW

TOKENIZER_FILE = "tokenizer.json"

Pooling = Literal["mean", "cls", "classifier"]
"""Mean of the token vectors, the first token's vector, or (an entailment model) a classifier's own head."""


@dataclass(frozen=True)
class TextEncoding:
    """What a client must know of a served text model.

    Attributes:
        tokenizer_sha256: hash of ``tokenizer.json``, which lies in the model's version folder.
        vocabulary_size: token ids are below it.
        max_tokens: longest input in tokens, special tokens included; longer texts are cut.
        pad_token_id: the id that fills up shorter rows.
        pooling: how token vectors become one.
        normalised: whether vectors have length 1.
        prompt: put before every text, ``"query: "`` for instance.
        width: numbers in a vector; of the encoder's hidden state where the model gives scores.
    """

    tokenizer_sha256: str
    vocabulary_size: int
    max_tokens: int
    pad_token_id: int
    pooling: Pooling
    normalised: bool
    prompt: str
    width: int

    def to_parameters(self) -> dict[str, str]:
        """The facts as parameters of a model configuration, all of them text."""
        return {"tokenizer_file": TOKENIZER_FILE, **{name: _written(value) for name, value in asdict(self).items()}}

    @classmethod
    def from_parameters(cls, model: str, parameters: Mapping[str, str]) -> TextEncoding:
        """Read the facts back.

        Raises:
            RepositoryError: one is missing or is not of its kind, so texts cannot be encoded for ``model``.
        """
        kinds = get_type_hints(cls)
        missing = [field.name for field in fields(cls) if field.name not in parameters]
        if missing:
            raise RepositoryError(
                f"model {model!r}: its served configuration does not say {', '.join(missing)}, so texts cannot be "
                "turned into what it was trained on",
                hint=f"name the traced text model itself, not its ensemble; or renew it: {RENEW}",
            )
        try:
            return cls(**{name: _read(kinds[name], parameters[name]) for name in kinds})
        except ValueError as error:
            raise RepositoryError(
                f"model {model!r}: its served configuration is not readable: {error}", hint=RENEW
            ) from error


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read(kind: object, text: str) -> object:
    if kind is int:
        return int(text)
    allowed = ("true", "false") if kind is bool else get_args(kind)
    if allowed and text not in allowed:
        raise ValueError(f"expected one of {', '.join(allowed)}, received {text!r}")
    return text == "true" if kind is bool else text
