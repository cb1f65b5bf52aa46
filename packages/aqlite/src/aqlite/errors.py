"""ArangoDB's error numbers, with the HTTP status and the default text each is answered with.

Where ArangoDB answers a client's mistake or a full machine with 500, aqlite answers with the fitting 4xx or 503.
Source: https://docs.arango.ai/arangodb/stable/develop/error-codes/
"""

from __future__ import annotations

_BAD, _FORBIDDEN, _NOT_FOUND, _CONFLICT = 400, 403, 404, 409

ERRORS: dict[int, tuple[int, str]] = {
    # general
    4: (500, "internal error"),
    7: (_BAD, "illegal option"),
    9: (501, "not implemented"),
    10: (_BAD, "bad parameter"),
    11: (_FORBIDDEN, "forbidden"),
    17: (_BAD, "type error"),
    18: (_CONFLICT, "lock timeout"),
    21: (410, "canceled request"),
    28: (_CONFLICT, "locked"),
    29: (_CONFLICT, "deadlock detected"),
    30: (503, "shutdown in progress"),
    32: (503, "resource limit exceeded"),
    37: (_BAD, "malformed json"),
    # HTTP
    400: (_BAD, "bad parameter"),
    401: (401, "not authorized to execute this request"),
    403: (_FORBIDDEN, "forbidden"),
    404: (_NOT_FOUND, "not found"),
    405: (405, "method not supported"),
    406: (406, "request not acceptable"),
    408: (408, "request timeout"),
    409: (_CONFLICT, "conflict"),
    410: (410, "content permanently deleted"),
    412: (412, "precondition failed"),
    413: (413, "payload too large"),
    501: (501, "not implemented"),
    503: (503, "service unavailable"),
    600: (_BAD, "invalid JSON object"),
    601: (_BAD, "superfluous URL suffices"),
    # storage
    1004: (_FORBIDDEN, "read only"),
    1100: (500, "corrupted datafile"),
    1102: (500, "corrupted collection"),
    1104: (503, "filesystem full"),
    1107: (503, "database directory is locked"),
    1200: (_CONFLICT, "conflict"),
    1202: (_NOT_FOUND, "document not found"),
    1203: (_NOT_FOUND, "collection or view not found"),
    1204: (_BAD, "parameter 'collection' not found"),
    1205: (_BAD, "illegal document identifier"),
    1207: (_CONFLICT, "duplicate name"),
    1208: (_BAD, "illegal name"),
    1209: (_NOT_FOUND, "no suitable index known"),
    1210: (_CONFLICT, "unique constraint violated"),
    1212: (_NOT_FOUND, "index not found"),
    1213: (_BAD, "cross collection request not allowed"),
    1214: (_BAD, "illegal index identifier"),
    1216: (_BAD, "document too large"),
    1218: (_BAD, "collection type invalid"),
    1220: (_BAD, "parsing attribute name definition failed"),
    1221: (_BAD, "illegal document key"),
    1222: (_BAD, "unexpected document key"),
    1224: (500, "server database directory not writable"),
    1225: (500, "out of keys"),
    1226: (_BAD, "missing document key"),
    1227: (_BAD, "invalid document type"),
    1228: (_NOT_FOUND, "database not found"),
    1229: (_BAD, "database name invalid"),
    1230: (_FORBIDDEN, "operation only allowed in system database"),
    1232: (_BAD, "invalid key generator"),
    1233: (
        _BAD,
        "expecting both `_from` and `_to` attributes to be defined in the edge document and have the format "
        "`<collectionName>/<vertexKey>`",
    ),
    1235: (_BAD, "index creation failed"),
    1237: (_BAD, "collection type mismatch"),
    1238: (_NOT_FOUND, "collection not loaded"),
    1239: (_BAD, "illegal document revision"),
    1302: (503, "operation should be tried again"),
    1305: (500, "storage engine I/O error"),
    # queries
    1500: (410, "query killed"),
    1501: (_BAD, "syntax error"),
    1502: (_BAD, "query is empty"),
    1503: (_BAD, "runtime error"),
    1504: (_BAD, "number out of range"),
    1505: (_BAD, "invalid geo coordinate value"),
    1510: (_BAD, "variable name has an invalid format"),
    1511: (_BAD, "variable is assigned multiple times"),
    1512: (_BAD, "unknown variable"),
    1521: (500, "unable to read-lock collection"),
    1522: (_BAD, "too many collections/shards"),
    1524: (_BAD, "too much nesting or too many objects"),
    1539: (_BAD, "unknown/invalid OPTIONS attribute used"),
    1540: (_BAD, "usage of unknown function"),
    1541: (_BAD, "invalid number of arguments for function"),
    1542: (_BAD, "invalid argument type in call to function"),
    1543: (_BAD, "invalid regex value"),
    1550: (_BAD, "invalid structure of bind parameters"),
    1551: (_BAD, "no value specified for declared bind parameter"),
    1552: (_BAD, "bind parameter was not declared in the query"),
    1553: (_BAD, "bind parameter has an invalid value or type"),
    1554: (_BAD, "AQL: failed vector search"),
    1561: (_BAD, "invalid arithmetic value"),
    1562: (_BAD, "division by zero"),
    1563: (_BAD, "array expected"),
    1568: (_BAD, "collection used as expression operand"),
    1569: (_BAD, "FAIL() called"),
    1570: (_NOT_FOUND, "no suitable geo index found"),
    1571: (_NOT_FOUND, "no suitable fulltext index found"),
    1572: (_BAD, "invalid date value"),
    1573: (_BAD, "multi-modify query"),
    1574: (_BAD, "invalid aggregate expression"),
    1575: (_BAD, "query options must be readable at query compile time"),
    1576: (_BAD, "FILTER/PRUNE condition complexity is too high"),
    1577: (_BAD, "could not use forced index hint"),
    1578: (_BAD, "disallowed dynamic call"),
    1579: (_BAD, "access after data-modification"),
    1580: (_BAD, "invalid user function name"),
    1581: (_BAD, "invalid user function code"),
    1582: (_NOT_FOUND, "user function not found"),
    1583: (_BAD, "user function runtime error"),
    1591: (_NOT_FOUND, "query ID not found"),
    1593: (_BAD, "assertion failed"),
    1594: (_BAD, "warning raised by the query"),
    1595: (_BAD, "window operation after data-modification"),
    1600: (_NOT_FOUND, "cursor not found"),
    1601: (_CONFLICT, "cursor is busy"),
    1620: (_BAD, "schema validation failed"),
    1621: (_BAD, "invalid schema validation parameter"),
    # transactions
    1650: (500, "internal transaction error"),
    1651: (_BAD, "nested transactions detected"),
    1652: (_BAD, "unregistered collection used in transaction"),
    1653: (_BAD, "disallowed operation inside transaction"),
    1654: (410, "transaction aborted"),
    1655: (_NOT_FOUND, "transaction not found"),
    # load
    21004: (412, "queue time violated"),
    # users
    1700: (_BAD, "invalid user name"),
    1702: (_CONFLICT, "duplicate user"),
    1703: (_NOT_FOUND, "user not found"),
    # graphs
    1901: (_BAD, "invalid graph"),
    1906: (_BAD, "invalid edge"),
    1910: (_BAD, "invalid filter result"),
    1920: (_BAD, "multi use of edge collection in edge def"),
    1921: (_BAD, "edge collection already used in edge def"),
    1922: (_BAD, "missing graph name"),
    1923: (_BAD, "malformed edge definition"),
    1924: (_NOT_FOUND, "graph not found"),
    1925: (_CONFLICT, "graph already exists"),
    1926: (_NOT_FOUND, "vertex collection does not exist or is not part of the graph"),
    1927: (_BAD, "collection not a vertex collection"),
    1928: (_BAD, "collection is not in list of orphan collections"),
    1929: (_BAD, "collection already used in edge def"),
    1930: (_NOT_FOUND, "edge collection not used in graph"),
    1932: (_NOT_FOUND, "collection _graphs does not exist"),
    1935: (_BAD, "Invalid number of arguments. Expected: "),
    1936: (_BAD, "Invalid parameter type."),
    1938: (_BAD, "collection used in orphans"),
    1939: (_BAD, "edge collection does not exist or is not part of the graph"),
    1940: (_BAD, "empty graph"),
    1941: (500, "internal graph data corrupt"),
    1942: (_FORBIDDEN, "must not drop collection while part of graph"),
    1943: (_BAD, "malformed orphan list"),
    1944: (_BAD, "edge definition collection is a document collection"),
    1945: (_BAD, "initial collection is not allowed to be removed manually"),
    1947: (_BAD, "referenced vertex collection is not part of the graph"),
    1948: (_BAD, "negative edge weight found"),
}


class ArangoError(Exception):
    """An error as ArangoDB reports it: a number, a text and the HTTP status of the answer.

    Attributes:
        error_num: ArangoDB's error number, a key of ``ERRORS``.
        message: text of the answer; the number's default text when none is given.
        http: HTTP status code of the answer.
    """

    def __init__(self, error_num: int, message: str | None = None, *, http: int | None = None) -> None:
        status, text = ERRORS[error_num]
        self.error_num = error_num
        self.message = text if message is None else message
        self.http = status if http is None else http
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"[{self.error_num}] {self.message}"
