"""Random AQL that is mostly well-formed: queries over the collections ``c`` (documents) and ``e`` (edges)."""

from __future__ import annotations

from random import Random

from aqlite.aql.functions import FUNCTIONS

_LITERALS = ["1", "0", "-1", "2.5", "-0.0", "1e308", "9223372036854775807", "18446744073709551616", "1..3"]
_LITERALS += ["null", "true", "false", "[]", "{}", "[1, 2, 3]", "[null, 1, 'a', [2]]", "{a: 1, b: {c: 2}}"]
_LITERALS += ["''", "'a'", "'x1'", "'c/3'", "'2020-01-01'", "'day'", "'%'", "'('", r'"\u0000"', r'"\ud800"']
_OPERATORS = ["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "IN", "NOT IN", "AND", "OR", "..", "LIKE", "=~", "!~"]
_ACCESSES = [".a", ".v", ".t[0]", ".t[*]", "[0]", "[-1]", "._key", "[*].a", "[**]", ".edges[*].w"]
_ACCESSES += [
    ".t[* FILTER CURRENT > 1 LIMIT 1 RETURN CURRENT + 1]",
    "[? ANY FILTER CURRENT == 2]",
    "[? 1..2 FILTER CURRENT]",
]
_AGGREGATES = ["COUNT", "MIN", "MAX", "SUM", "AVG", "UNIQUE", "COUNT_DISTINCT", "STDDEV", "BIT_OR", "PUSH"]
_PATHS = ["SHORTEST_PATH", "K_SHORTEST_PATHS", "ALL_SHORTEST_PATHS", "1..4 K_PATHS"]
_PATH_OPTIONS = ["", "OPTIONS {order: 'bfs', uniqueVertices: 'global'}", "OPTIONS {uniqueVertices: 'path'}"]
_PATH_OPTIONS += ["OPTIONS {order: 'weighted', weightAttribute: 'w'}", "OPTIONS {uniqueEdges: 'none'}"]
_CALLED = sorted(set(FUNCTIONS) - {"SLEEP", "FAIL", "ASSERT"})


class QueryMaker:
    """Makes one query; variables in scope are known, so that most queries compile."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.names = 0

    def query(self, depth: int = 3, scope: tuple[str, ...] = (), *, sub: bool = False) -> str:
        variables, parts = list(scope), []
        for _ in range(self.random.randint(1, 4)):
            makers = [self._for, self._for, self._filter, self._let, self._sort, self._limit, self._collect]
            makers += [self._traversal, self._path, self._window] + ([] if sub else [self._write])
            maker = self.random.choice(makers) if parts else self._for
            parts.append(maker(variables, depth))
        distinct = self.random.choice(["", "DISTINCT "])
        return " ".join([*parts, f"RETURN {distinct}{self.expression(variables, min(depth, 2))}"])

    def expression(self, scope: list[str], depth: int) -> str:
        if depth <= 0 or self.random.random() < 0.2:
            return self._leaf(scope)
        makers = [self._binary, self._unary, self._ternary, self._call, self._list, self._object, self._access]
        makers += [self._access, self._array_comparison, self._subquery]
        return self.random.choice(makers)(scope, depth - 1)

    def _leaf(self, scope: list[str]) -> str:
        return self.random.choice(scope if scope and self.random.random() < 0.6 else _LITERALS)

    def _name(self, scope: list[str]) -> str:
        self.names += 1
        scope.append(f"v{self.names}")
        return scope[-1]

    # --- expressions ------------------------------------------------------------------------------------------
    def _binary(self, scope: list[str], depth: int) -> str:
        operator = self.random.choice(_OPERATORS)
        return f"({self.expression(scope, depth)} {operator} {self.expression(scope, depth)})"

    def _unary(self, scope: list[str], depth: int) -> str:
        return f"({self.random.choice(['!', '-', '+', 'NOT '])}{self.expression(scope, depth)})"

    def _ternary(self, scope: list[str], depth: int) -> str:
        condition, then, otherwise = (self.expression(scope, depth) for _ in range(3))
        return f"({condition} ? {then} : {otherwise})"

    def _call(self, scope: list[str], depth: int) -> str:
        function = FUNCTIONS[self.random.choice(_CALLED)]
        most = function.min_args + 2 if function.max_args is None else function.max_args
        count = self.random.randint(function.min_args, most)
        return f"{function.name}({', '.join(self.expression(scope, depth) for _ in range(count))})"

    def _list(self, scope: list[str], depth: int) -> str:
        return f"[{', '.join(self.expression(scope, depth) for _ in range(self.random.randint(0, 3)))}]"

    def _object(self, scope: list[str], depth: int) -> str:
        keys = self.random.sample(["a", "b", "_key", "`x y`", "[CONCAT(1, 2)]"], self.random.randint(0, 3))
        return "{" + ", ".join(f"{key}: {self.expression(scope, depth)}" for key in keys) + "}"

    def _access(self, scope: list[str], depth: int) -> str:
        return f"({self.expression(scope, depth)}){self.random.choice(_ACCESSES)}"

    def _array_comparison(self, scope: list[str], depth: int) -> str:
        quantifier = self.random.choice(["ALL", "ANY", "NONE", "AT LEAST (2)"])
        operator = self.random.choice(["==", "IN", "<", "!=", "NOT IN"])
        return f"({self.expression(scope, depth)} {quantifier} {operator} {self.expression(scope, depth)})"

    def _subquery(self, scope: list[str], depth: int) -> str:
        return f"({self.query(depth, tuple(scope), sub=True)})"

    # --- operations -------------------------------------------------------------------------------------------
    def _for(self, scope: list[str], depth: int) -> str:
        source = self.random.choice(["c", "c", "e", "1..4", self.expression(scope, depth - 1)])
        return f"FOR {self._name(scope)} IN {source}"

    def _filter(self, scope: list[str], depth: int) -> str:
        return f"FILTER {self.expression(scope, min(depth, 2))}"

    def _let(self, scope: list[str], depth: int) -> str:
        value = self.expression(scope, min(depth, 2))
        return f"LET {self._name(scope)} = {value}"

    def _sort(self, scope: list[str], depth: int) -> str:
        return f"SORT {self.expression(scope, 1)} {self.random.choice(['', 'DESC'])}, {self.expression(scope, 1)}"

    def _limit(self, scope: list[str], depth: int) -> str:
        return f"LIMIT {self.random.choice(['2', '1, 3', '0', '100000'])}"

    def _collect(self, scope: list[str], depth: int) -> str:
        value, other, function = self.expression(scope, 1), self.expression(scope, 1), self.random.choice(_AGGREGATES)
        scope.clear()
        if self.random.random() < 0.2:
            return f"COLLECT AGGREGATE {self._name(scope)} = {function}({value})"
        group = f"COLLECT {self._name(scope)} = {value}"
        tails = [
            "",
            " WITH COUNT INTO {}",
            " INTO {}",
            f" INTO {{}} = {other}",
            f" AGGREGATE {{}} = {function}({other})",
        ]
        tail = self.random.choice(tails)
        return group + (tail.replace("{}", self._name(scope), 1) if tail else "")

    def _traversal(self, scope: list[str], depth: int) -> str:
        start = self.random.choice(["'c/3'", self.expression(scope, 0)])
        vertex, edge, path = self._name(scope), self._name(scope), self._name(scope)
        direction = self.random.choice(["OUTBOUND", "INBOUND", "ANY"])
        prune = self.random.choice(["", f"PRUNE {vertex}.v > 5", f"PRUNE {edge}.w == 2"])
        levels, options = self.random.choice(["1", "0..2", "1..3"]), self.random.choice(_PATH_OPTIONS)
        return f"FOR {vertex}, {edge}, {path} IN {levels} {direction} {start} e {prune} {options}"

    def _path(self, scope: list[str], depth: int) -> str:
        ends = [self.random.choice([f"'c/{number}'", self.expression(scope, 0)]) for number in (1, 7)]
        *levels, kind = self.random.choice(_PATHS).split()
        direction = self.random.choice(["OUTBOUND", "ANY"])
        options = self.random.choice(["", "OPTIONS {weightAttribute: 'w'}"])
        path = self._name(scope)
        return f"FOR {path} IN {' '.join(levels)} {direction} {kind} {ends[0]} TO {ends[1]} e {options} LIMIT 3"

    def _window(self, scope: list[str], depth: int) -> str:
        value, position = self.expression(scope, 1), self.expression(scope, 1)
        bounds = ["{preceding: 1, following: 1}", "{preceding: 'unbounded'}", f"{position} WITH {{preceding: 1}}"]
        return f"WINDOW {self.random.choice(bounds)} AGGREGATE {self._name(scope)} = SUM({value})"

    def _write(self, scope: list[str], depth: int) -> str:
        value, target = self.expression(scope, 1), self.random.choice([scope[-1], self.expression(scope, 0)])
        forms = [f"INSERT {{v: {value}}} INTO c", f"UPDATE {target} WITH {{v: {value}}} IN c", f"INSERT {value} INTO e"]
        forms += [f"REPLACE {target} WITH {{v: {value}}} IN c", f"REMOVE {target} IN c OPTIONS {{ignoreErrors: true}}"]
        forms += [f"UPSERT {{v: {target}}} INSERT {{v: {value}}} UPDATE {{s: {value}}} IN c"]
        return self.random.choice(forms)
