"""The interface as Markdown tables: every route with the rights that it needs."""

from __future__ import annotations

from aqlite.http.access import Need
from aqlite.http.routes import ENDPOINTS
from aqlite.services.permissions import NONE

_SHOWN = {NONE: "", "ro": "ro", "rw": "rw"}


def permissions_table() -> str:
    """Rows of method, path, and least level on the database, on the collection, and on the server."""
    rows = ["| method | path | database | collection | server |", "|---|---|---|---|---|"]
    for endpoint in ENDPOINTS:
        need = endpoint.need
        levels = f"{_SHOWN[need.database]} | {_SHOWN[need.collection]} | {_server(need)}"
        rows.append(f"| {endpoint.method} | `{endpoint.path}` | {levels} |")
    return "\n".join(rows)


def _server(need: Need) -> str:
    if not need.login:
        return "no login"
    if need.server:
        return "rw, or the user's own" if need.own else "rw"
    return ""


def permissions_document() -> str:
    """The whole file PERMISSIONS.md."""
    return f"""# Who may do what

The least access levels that every route needs, made from the table of routes by `python -m aqlite.http.tables` and
tested route by route against every level. `ro` is *Access* to a database and *Read only* for a collection, `rw` is
*Administrate* and *Read/Write*; the server's level is the one on the database `_system`. Queries, traversals and
transactions need the levels of the collections that they use; named graphs those of their vertex collections too.
What a user may not use is answered with status 403, a database that the user may not enter with 401.

{permissions_table()}
"""


if __name__ == "__main__":
    print(permissions_document(), end="")  # noqa: T201
