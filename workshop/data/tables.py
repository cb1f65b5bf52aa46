"""CSV tables as people have them: text in some encoding, read without guessing at types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import pandas as pd

from workshop.errors import DataInvalidError, DataMissingError


def table_name(source: Path | str | IO[bytes], default: str) -> str:
    """What error messages call a table: its path, else the open file's name, else ``default``."""
    return str(source) if isinstance(source, str | Path) else getattr(source, "name", default)


def read_table(source: Path | str | IO[bytes], name: str, encoding: str) -> pd.DataFrame:
    """Every column as text; an empty field is an empty string.

    Args:
        source: path of the file, or an open binary file.
        name: what error messages call it.
        encoding: of the text.

    Raises:
        DataMissingError: there is no such file.
        DataInvalidError: it is not a CSV table, or its text is not in ``encoding``.
    """
    try:
        return pd.read_csv(source, dtype=str, keep_default_na=False, encoding=encoding)
    except FileNotFoundError as error:
        raise DataMissingError(f"no file at {name}") from error
    except UnicodeDecodeError as error:
        raise DataInvalidError(
            f"{name} is not {encoding} text: byte {error.object[error.start]:#04x} cannot be decoded",
            hint='pass its encoding, for example encoding="latin-1", or save the file as UTF-8',
        ) from error
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise DataInvalidError(f"{name} is not a CSV table: {error}") from error


def read_columns(
    source: Path | str | IO[bytes],
    name: str,
    encoding: str,
    *,
    required: Sequence[str],
    rename: Mapping[str, str] | None,
    hint: str,
) -> pd.DataFrame:
    """As :func:`read_table`, with columns under their own names and the required ones there.

    Args:
        source: as for :func:`read_table`.
        name: as for :func:`read_table`.
        encoding: as for :func:`read_table`.
        required: names of columns.
        rename: other names of columns in the file, ``{"name in the file": "name above"}``.
        hint: how to say what a missing column is called in the file.

    Raises:
        DataMissingError: there is no such file.
        DataInvalidError: it is not a CSV table in ``encoding``, or lacks a required column.
    """
    table = read_table(source, name, encoding).rename(columns=dict(rename or {}))
    if missing := [column for column in required if column not in table.columns]:
        raise DataInvalidError(
            f"{name}: column {' and '.join(missing)} missing; found {', '.join(map(str, table.columns))}", hint=hint
        )
    return table
