"""Type checks and casts. Source: the page "Type check and cast functions in AQL" of ArangoDB 3.12."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from aqlite.aql import values
from aqlite.aql.dates import is_date_string
from aqlite.aql.functions.registry import Registry
from aqlite.aql.values import Value

if TYPE_CHECKING:
    from aqlite.aql.context import CallContext

FUNCTIONS = Registry()
_KEY = re.compile(r"[A-Za-z0-9_\-:.@()+,=;$!*'%]{1,254}")


def _define(names: tuple[str, ...], operation: Callable[[Value], Value]) -> None:
    @FUNCTIONS.define(*names)
    def call(ctx: CallContext, value: Value) -> Value:
        return operation(value)


for _names, _operation in {
    ("TO_BOOL",): values.truthy,
    ("TO_NUMBER",): values.to_number,
    ("TO_STRING",): values.to_string,
    ("TO_ARRAY", "TO_LIST"): values.to_array,
    ("IS_NULL",): lambda value: value is None,
    ("IS_BOOL",): lambda value: type(value) is bool,
    ("IS_NUMBER",): values.is_number,
    ("IS_STRING",): lambda value: type(value) is str,
    ("IS_ARRAY", "IS_LIST"): lambda value: type(value) is list,
    ("IS_OBJECT", "IS_DOCUMENT"): lambda value: type(value) is dict,
    ("IS_DATESTRING",): is_date_string,
    ("IS_KEY",): lambda value: type(value) is str and bool(_KEY.fullmatch(value)),
    ("TYPENAME",): values.type_name,
}.items():
    _define(_names, _operation)
