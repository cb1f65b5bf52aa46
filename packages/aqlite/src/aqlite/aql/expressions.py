"""Resolved expressions to Python closures: ``closure(frame) -> value``.

A frame is the list of one row's variable values, by slot. What does not depend on the innermost loop is computed once
per iteration of the loop it does depend on: its value waits in a slot of its own, which that loop empties.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from aqlite.aql import ast
from aqlite.aql import plan as p
from aqlite.aql import values as v
from aqlite.aql.context import CallContext
from aqlite.aql.facts import Facts, facts_of
from aqlite.aql.functions import FUNCTIONS
from aqlite.aql.inline_calls import INLINE_CALLS
from aqlite.aql.operators import binary_operator, comparison, quantified_comparison
from aqlite.aql.runtime import CHECK_MASK, Runtime
from aqlite.storage.api import StoreView

Frame = list
Closure = Callable[[Frame], Any]

UNSET = object()
"""Content of a slot whose value is still to be computed."""

_HEAVY = (ast.Call, p.SubqueryValue, p.ResolvedExpansion, p.ResolvedQuestion, ast.Array, ast.Object, ast.Range)
"""Expressions worth a slot of their own in whatever loop they belong to."""

_FOLDED = (*_HEAVY, ast.Binary, ast.ArrayComparison, ast.Unary, ast.Ternary)
"""Expressions worth computing only once when no loop changes them."""


class ExpressionCompiler:
    """Compiles the expressions of one execution of a plan."""

    def __init__(self, runtime: Runtime, compile_block: Callable[[p.BlockPlan], Callable[[Frame], list]]) -> None:
        self.runtime = runtime
        self.compile_block = compile_block
        self.level = 0
        self.memo_slots: list[list[int]] = [[]]
        self._facts: dict[int, tuple[ast.Node, Facts]] = {}

    # --- loops ------------------------------------------------------------------------------------------------
    def enter_loop(self, *variables: p.Variable | None) -> list[int]:
        """Everything compiled from now on runs inside one more loop, which binds the variables.

        Returns:
            Slots that the loop must set to ``UNSET`` at each iteration; filled while its body is compiled.
        """
        self.level += 1
        self.memo_slots.append([])
        for variable in variables:
            if variable is not None:
                variable.level = self.level
        return self.memo_slots[self.level]

    def leave_loops(self, level: int) -> None:
        """Go back to the level at which an enclosing block was."""
        del self.memo_slots[level + 1 :]
        self.level = level

    def level_of(self, node: ast.Expr) -> int:
        """Innermost loop whose iterations can change the value: the current one unless the value is deterministic."""
        facts = facts_of(node, self._facts)
        if not facts.deterministic:
            return self.level
        return max((variable.level for variable in facts.variables), default=0)

    # --- entry ------------------------------------------------------------------------------------------------
    def compile(self, node: ast.Expr) -> Closure:
        """Closure that computes the expression."""
        if self.level > 0 and isinstance(node, _FOLDED):
            level = self.level_of(node)
            if level == 0 or (level < self.level and isinstance(node, _HEAVY)):
                return self._hoisted(node, level)
        return self._compilers[type(node)](self, node)

    def _hoisted(self, node: ast.Expr, level: int) -> Closure:
        inner_level, inner_slots = self.level, self.memo_slots
        self.level, self.memo_slots = level, inner_slots[: level + 1]
        compute = self._compilers[type(node)](self, node)
        self.level, self.memo_slots = inner_level, inner_slots
        if level == 0:
            return _once(compute)
        slot = self.runtime.new_slot()
        self.memo_slots[level].append(slot)

        def memo(frame: Frame) -> Any:
            value = frame[slot]
            if value is UNSET:
                value = frame[slot] = compute(frame)
            return value

        return memo

    def compile_fresh(self, node: ast.Expr) -> Closure:
        """Closure that computes the expression anew each time, whatever it depends on."""
        return self._compilers[type(node)](self, node)

    def compile_all(self, nodes: tuple[ast.Expr, ...]) -> list[Closure]:
        """One closure per expression."""
        return [self.compile(node) for node in nodes]

    # --- values -----------------------------------------------------------------------------------------------
    def _literal(self, node: ast.Literal) -> Closure:
        value = node.value
        return lambda frame: value

    def _variable(self, node: p.VarRef) -> Closure:
        slot = node.variable.slot
        return lambda frame: frame[slot]

    def _array(self, node: ast.Array) -> Closure:
        items = self.compile_all(node.items)
        return lambda frame: [item(frame) for item in items]

    def _object(self, node: ast.Object) -> Closure:
        if all(isinstance(key, ast.Literal) for key, _ in node.entries):
            entries = [(v.to_string(key.value), self.compile(value)) for key, value in node.entries]
            return lambda frame: {name: value(frame) for name, value in entries}
        computed = [(self.compile(key), self.compile(value)) for key, value in node.entries]
        return lambda frame: {v.to_string(key(frame)): value(frame) for key, value in computed}

    def _attribute(self, node: ast.Attribute) -> Closure:
        name = node.name
        if isinstance(node.base, p.VarRef):
            slot = node.base.variable.slot

            def attribute_of_variable(frame: Frame) -> Any:
                value = frame[slot]
                return value.get(name) if value.__class__ is dict else None

            return attribute_of_variable
        base = self.compile(node.base)

        def attribute(frame: Frame) -> Any:
            value = base(frame)
            return value.get(name) if value.__class__ is dict else None

        return attribute

    def _index(self, node: ast.Index) -> Closure:
        base, index = self.compile(node.base), self.compile(node.index)
        return lambda frame: element_at(base(frame), index(frame))

    def _range(self, node: ast.Range) -> Closure:
        low, high = self.compile(node.low), self.compile(node.high)
        ctx = self.runtime.context
        return lambda frame: v.materialise_range(ctx, v.integer_range(low(frame), high(frame)))

    # --- operators --------------------------------------------------------------------------------------------
    def _unary(self, node: ast.Unary) -> Closure:
        operand = self.compile(node.operand)
        if node.op == "!":
            return lambda frame: not v.truthy(operand(frame))
        if node.op == "-":
            return lambda frame: v.negate(operand(frame))
        return lambda frame: v.to_number(operand(frame))

    def _binary(self, node: ast.Binary) -> Closure:
        left, right = self.compile(node.left), self.compile(node.right)
        constant = node.right.value if isinstance(node.right, ast.Literal) else UNSET
        return binary_operator(self.runtime.context, node.op, left, right, constant, UNSET)

    def _array_comparison(self, node: ast.ArrayComparison) -> Closure:
        left, right = self.compile(node.left), self.compile(node.right)
        amount = None if node.amount is None else self.compile(node.amount)
        test = comparison(self.runtime.context, node.op)
        needs_array = node.op in ("IN", "NOT IN")
        return quantified_comparison(node.quantifier, amount, test, left, right, needs_array)

    def _ternary(self, node: ast.Ternary) -> Closure:
        condition, otherwise = self.compile(node.condition), self.compile(node.otherwise)
        if node.then is None:

            def short(frame: Frame) -> Any:
                value = condition(frame)
                return value if v.truthy(value) else otherwise(frame)

            return short
        then = self.compile(node.then)
        return lambda frame: then(frame) if v.truthy(condition(frame)) else otherwise(frame)

    # --- arrays -----------------------------------------------------------------------------------------------
    def _expansion(self, node: p.ResolvedExpansion) -> Closure:
        base = self.compile(node.base)
        limits = self._inline_limit(node.limit)
        level = self.level
        emptied, slot = self.enter_loop(node.current), node.current.slot
        condition = None if node.condition is None else self.compile(node.condition)
        projection = None if node.projection is None else self.compile(node.projection)
        plain = isinstance(node.tail, p.VarRef)
        tail = None if plain else self.compile(node.tail)
        self.leave_loops(level)
        flatten_levels, checked = node.levels - 1, self._checked

        def expand(frame: Frame) -> list:
            items = base(frame)
            if items.__class__ is not list:
                return []
            if flatten_levels:
                items = flatten(items, flatten_levels)
            skip, left = limits(frame)
            found = []
            for item in checked(items):
                if left == 0:
                    break
                frame[slot] = item
                for memo in emptied:
                    frame[memo] = UNSET
                if condition is not None and not v.truthy(condition(frame)):
                    continue
                if skip:
                    skip -= 1
                    continue
                left -= 1
                if projection is not None:
                    item = frame[slot] = projection(frame)
                found.append(item if tail is None else tail(frame))
            return found

        return expand

    def _inline_limit(self, limit: ast.InlineLimit | None) -> Closure:
        """Closure that gives how many matches to skip and how many to take, -1 for all."""
        if limit is None:
            return lambda frame: (0, -1)
        offset, count = self.compile(limit.offset), self.compile(limit.count)
        return lambda frame: (max(0, int(v.to_number(offset(frame)))), max(0, int(v.to_number(count(frame)))))

    def _checked(self, items: list) -> Iterator[Any]:
        """The items, with a look at the deadline now and then."""
        check = self.runtime.context.check
        for position, item in enumerate(items):
            if not position & CHECK_MASK:
                check()
            yield item

    def _question(self, node: p.ResolvedQuestion) -> Closure:
        base = self.compile(node.base)
        low, high = self._amounts(node)
        level = self.level
        emptied, slot = self.enter_loop(node.current), node.current.slot
        condition = None if node.condition is None else self.compile(node.condition)
        self.leave_loops(level)

        checked = self._checked

        def question(frame: Frame) -> bool:
            items = base(frame)
            if items.__class__ is not list:
                return False
            matches = 0
            for item in checked(items):
                frame[slot] = item
                for memo in emptied:
                    frame[memo] = UNSET
                matches += condition is None or v.truthy(condition(frame))
            return low(frame, len(items)) <= matches <= high(frame, len(items))

        return question

    def _amounts(self, node: p.ResolvedQuestion) -> tuple[Callable, Callable]:
        """Smallest and largest accepted number of matches, each from the frame and the array's length."""
        amount = node.amount
        if node.quantifier == "ALL":
            return (lambda frame, size: size), (lambda frame, size: size)
        if node.quantifier == "NONE":
            return (lambda frame, size: 0), (lambda frame, size: 0)
        if amount is None:
            return (lambda frame, size: 1), (lambda frame, size: size)
        low = self.compile(amount.low if isinstance(amount, ast.Range) else amount)
        if node.quantifier == "AT LEAST":
            return (lambda frame, size: v.to_number(low(frame))), (lambda frame, size: size)
        high = self.compile(amount.high) if isinstance(amount, ast.Range) else low
        return (lambda frame, size: v.to_number(low(frame))), (lambda frame, size: v.to_number(high(frame)))

    # --- calls and subqueries ---------------------------------------------------------------------------------
    def _call(self, node: ast.Call) -> Closure:
        arguments = self.compile_all(node.arguments)
        function, context = FUNCTIONS[node.name].call, self.runtime.context
        inline = INLINE_CALLS.get((node.name, len(arguments)))
        if inline is not None:
            return inline(context, function, *arguments)
        if len(arguments) == 1:
            (only,) = arguments
            return lambda frame: function(context, only(frame))
        if len(arguments) == 2:
            first, second = arguments
            return lambda frame: function(context, first(frame), second(frame))
        return lambda frame: function(context, *[argument(frame) for argument in arguments])

    def _subquery(self, node: p.SubqueryValue) -> Closure:
        level = self.level
        run = self.compile_block(node.block)
        self.leave_loops(level)
        return run

    _compilers: ClassVar[dict[type, Callable[..., Closure]]] = {
        ast.Literal: _literal,
        p.VarRef: _variable,
        ast.Array: _array,
        ast.Object: _object,
        ast.Attribute: _attribute,
        ast.Index: _index,
        ast.Range: _range,
        ast.Unary: _unary,
        ast.Binary: _binary,
        ast.ArrayComparison: _array_comparison,
        ast.Ternary: _ternary,
        p.ResolvedExpansion: _expansion,
        p.ResolvedQuestion: _question,
        ast.Call: _call,
        p.SubqueryValue: _subquery,
    }


def constant_value(view: StoreView, node: ast.Expr) -> tuple[bool, Any]:
    """(True, value) of an expression without outer variables and subqueries; (False, None) for any other."""
    parts = list(p.walk(node))
    own = [part.current for part in parts if isinstance(part, (p.ResolvedExpansion, p.ResolvedQuestion))]
    facts = facts_of(node)
    if any(isinstance(part, p.SubqueryValue) for part in parts) or not facts.deterministic or facts.variables - {*own}:
        return False, None
    runtime = Runtime(view, CallContext(view=view), max((variable.slot + 1 for variable in own), default=0))
    value = ExpressionCompiler(runtime, _no_block).compile(node)
    return True, value([UNSET] * runtime.frame_size)


def _no_block(block: p.BlockPlan) -> Closure:
    raise AssertionError("a constant has no subquery")


def _once(compute: Closure) -> Closure:
    """A value that no loop changes: computed when first needed."""
    cell = [UNSET]

    def value(frame: Frame) -> Any:
        if cell[0] is UNSET:
            cell[0] = compute(frame)
        return cell[0]

    return value


def element_at(base: Any, index: Any) -> Any:
    """``base[index]``: arrays by position (negative from the end), objects by attribute name; null otherwise."""
    if base.__class__ is list:
        if index.__class__ is str:
            if not index.lstrip("-").isdecimal():
                return None
            index = int(index)
        elif not v.is_number(index):
            return None
        position = int(index)
        return base[position] if -len(base) <= position < len(base) else None
    if base.__class__ is dict:
        if index.__class__ is str:
            return base.get(index)
        return base.get(v.to_string(index)) if v.is_number(index) else None
    return None


def flatten(items: list, levels: int) -> list:
    """The array with arrays inside it unpacked, ``levels`` deep."""
    flat: list = []
    for item in items:
        if item.__class__ is list:
            flat.extend(flatten(item, levels - 1) if levels > 1 else item)
        else:
            flat.append(item)
    return flat
