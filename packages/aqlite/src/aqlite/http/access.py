"""What a route needs of its user, checked before its handler runs.

Rights on collections are checked by the views of the storage, which know the collection that a name or id stands for;
here they are only declared, for the table of routes and its test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aqlite.errors import ArangoError
from aqlite.services.permissions import NONE, READ, SYSTEM, WRITE, allows
from aqlite.services.server import Server
from aqlite.services.users import unauthorized


@dataclass(frozen=True)
class Need:
    """Least levels that a route needs.

    Attributes:
        database: on the database of the request; ``none`` for routes that every user may use.
        collection: on the collection that the request names.
        server: write access to ``_system``, which makes an administrator of the server.
        in_system: whether the request must be to ``_system``.
        own: whether users may look after themselves without being administrators.
        login: whether the user must be known at all.
    """

    database: str = READ
    collection: str = NONE
    server: bool = False
    in_system: bool = False
    own: bool = False
    login: bool = True


PUBLIC = Need(NONE, login=False)
LOGIN = Need(NONE)
ACCESS = Need(READ)
ADMINISTRATE = Need(WRITE)
READS, WRITES = Need(READ, READ), Need(READ, WRITE)
DEFINES = Need(WRITE, WRITE)
SERVER = Need(NONE, server=True)
SYSTEM_ONLY = Need(NONE, server=True, in_system=True)
OWN = Need(NONE, server=True, own=True)


def check_access(server: Server, need: Need, user: str, database: str, path: Mapping[str, str]) -> None:
    """Check everything but collections.

    Raises:
        ArangoError: 11 with status 401 for who may not use the database, whether it exists or not; 1228; 1230; 11.
    """
    if need.database != NONE and server.users.level(user, database) == NONE:
        raise unauthorized()
    if not server.store.has_database(database):
        raise ArangoError(1228) if server.users.level(user, database) != NONE else unauthorized()
    if need.in_system and database != SYSTEM:
        raise ArangoError(1230)
    if need.server and not (need.own and path.get("user") == user):
        if not allows(server.users.level(user, SYSTEM), WRITE):
            raise ArangoError(11)
    elif not allows(server.users.level(user, database), need.database):
        raise ArangoError(11, f"insufficient rights to access database '{database}'")
