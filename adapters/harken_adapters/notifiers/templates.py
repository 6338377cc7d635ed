"""Templates of routes, in a safe subset of Jinja2.

A template is checked before it is compiled: it can only look up values, compare, calculate and loop over lists. So it
cannot access Python objects. Its cost is limited too: compiling it, each step of rendering, and each character that is
read or written are taken from a budget in advance. So no template can use much processor time or memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, wraps
from math import isfinite
from typing import Any, Final

from attrs import define, frozen

from harken.domain.errors import ConfigurationError, TemplateTooCostly, TemplateValueMissing
from harken_adapters.notifiers.missing import missing

try:
    from jinja2 import (
        StrictUndefined,
        Template,
        TemplateError,
        TemplateSyntaxError,
        Undefined,
        UndefinedError,
        nodes,
        pass_context,
    )
    from jinja2.filters import FILTERS
    from jinja2.runtime import Context, LoopContext
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.tests import TESTS
except ModuleNotFoundError as error:
    raise missing("A template", "jinja2", "notify") from error

#: The maximum number of characters of a text. A longer one is cut.
MAX_TEXT: Final = 4_000
#: The maximum number of characters of a template.
MAX_TEMPLATE: Final = 10_000
#: The budget for compiling and rendering a template. One unit is about one character that is read or written.
WORK: Final = 2_000_000

#: The costs of compiling a node, of evaluating it once, and of calling a filter or test.
_COMPILE_COST: Final = 1_000
_EVALUATION_COST: Final = 10
_CALL_COST: Final = 40
#: The cost of each list item, besides its characters.
_ITEM_COST: Final = 10
#: The maximum number of characters in the ``repr`` of one character.
_REPR_FACTOR: Final = 10
_MAX_NUMBER: Final = 2**64
_MAX_ITEMS: Final = 100
_MAX_PLACES: Final = 15
_MAX_COMPILED: Final = 256
_MAX_DEPTH: Final = 60
_MAX_NAME: Final = 100
_MAX_ERROR: Final = 500

_STRUCTURE: Final = (nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For)
_LOOKUP: Final = (nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.List, nodes.Tuple)
_APPLY: Final = (nodes.Filter, nodes.Test, nodes.Keyword, nodes.CondExpr, nodes.Concat)
_COMPARE: Final = (nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not)
_ARITHMETIC: Final = (nodes.Neg, nodes.Pos, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod)
#: The allowed nodes. Calls, assignments, macros and other templates are not allowed.
_NODES: Final = (*_STRUCTURE, *_LOOKUP, *_APPLY, *_COMPARE, *_ARITHMETIC)
_ALLOWED: Final = "a template can use {{ }}, {% if %}, {% for %}, operators except **, filters and tests"

#: The text filters, with the maximum growth or cost per character.
_TEXT_FILTERS: Final[Mapping[str, int]] = {
    "capitalize": 3,
    "e": 5,
    "escape": 5,
    "lower": 3,
    "string": 1,
    "title": 12,
    "trim": 1,
    "truncate": 2,
    "upper": 3,
    "wordcount": 12,
}
#: The other filters, likewise.
_LIST_FILTERS: Final[Mapping[str, int]] = {
    "abs": 1,
    "count": 1,
    "dictsort": 2,
    "first": 1,
    "float": 2,
    "int": 2,
    "items": 1,
    "last": 1,
    "length": 1,
    "max": 10,
    "min": 10,
    "reverse": 1,
    "sort": 15,
    "unique": 10,
}
#: Filters whose cost is multiplied by the length of their arguments, such as ``attribute="a.b"``.
_TIMES_ARGUMENTS: Final = frozenset({"max", "min", "sort", "trim", "unique"})
#: Filters that return their argument without reading it.
_FREE: Final = ("d", "default")
_NEED_ENVIRONMENT: Final = frozenset({"first", "last", "max", "min", "sort", "truncate", "unique"})
#: Filters that return an iterator, which becomes a list so that it can be measured.
_ITERATORS: Final = frozenset({"items", "reverse", "unique"})

_SIGNS: Final = ("!=", "<", "<=", "==", ">", ">=", "eq", "ge", "gt", "in", "le", "lt", "ne")
_KINDS: Final = (
    "boolean",
    "defined",
    "float",
    "integer",
    "mapping",
    "none",
    "number",
    "sequence",
    "string",
    "undefined",
)
#: Tests with ``%``, which would format texts.
_NUMBER_TESTS: Final = ("divisibleby", "even", "odd")
_TESTS: Final = (*_SIGNS, *_KINDS, *_NUMBER_TESTS, "false", "lower", "true", "upper")
#: The attributes of ``loop``.
_LOOP_ATTRIBUTES: Final = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length"})
#: Filters that are inserted where a loop, a slice, a comparison or ``~`` uses a value. Templates cannot name them, or
#: the variable of the budget.
_LOOP_ITEMS: Final = "loop items"
_MEASURED: Final = "measured"
_AS_TEXT: Final = "as text"
_BUDGET: Final = "the budget"
#: The errors of lookups, arithmetic and filters with unexpected values.
_FAILURES: Final = (
    TemplateError,
    TypeError,
    ValueError,
    ArithmeticError,
    AssertionError,
    LookupError,
    AttributeError,
    RecursionError,
)


@define
class _Budget:
    """The remaining budget of one template."""

    left: int = WORK

    def spend(self, work: int) -> None:
        """Take the cost of some work from the budget, before it is done."""
        if work > self.left:
            raise TemplateTooCostly(
                f"The template does too much work: compiling and rendering it may cost {WORK:,} units together, about "
                "one for each character that is read or written; shorten it, or apply fewer filters to long values"
            )
        self.left -= work


@frozen
class _Compiled:
    """A compiled template, the names that it uses, and the budget for rendering it."""

    template: Template
    names: frozenset[str]
    left: int


class JinjaRenderer:
    """Renders templates such as ``{{ rating }}: {{ feedback.comment }}``.

    Templates can use ``{% if %}``, ``{% for %}`` (not nested), arithmetic, and filters such as ``default``, ``join``
    and ``truncate``. ``None`` is rendered as an empty text.
    """

    def __init__(self) -> None:
        self._environment = _Environment()
        self._compiled = lru_cache(maxsize=_MAX_COMPILED)(self._compile)

    def check(self, template: str) -> None:
        """Raise ``ConfigurationError`` if the template is invalid. The error has the reason and the line."""
        self._compiled(template)

    def names(self, template: str) -> frozenset[str]:
        """The names of the values that a template uses. Raises like :meth:`check`."""
        return self._compiled(template).names

    def render(self, template: str, values: Mapping[str, object]) -> str:
        """Render a template with these values. A text above 4,000 characters is cut.

        Raises:
            TemplateTooCostly: compiling and rendering would cost more than :data:`WORK`.
            TemplateValueMissing: the template uses a missing value.
            ConfigurationError: the template is invalid, or does not work with these values.
        """
        compiled = self._compiled(template)
        try:
            return _cut(compiled.template.generate({**values, _BUDGET: _Budget(compiled.left)}))
        except TemplateTooCostly:
            raise
        except UndefinedError as error:
            raise TemplateValueMissing(str(error)[:_MAX_ERROR]) from error
        except _FAILURES as error:
            raise ConfigurationError(f"The template cannot be rendered: {str(error)[:_MAX_ERROR]}") from error

    def _compile(self, template: str) -> _Compiled:
        if not isinstance(template, str):
            raise ConfigurationError(f"A template must be a string, got {type(template).__name__}")
        if len(template) > MAX_TEMPLATE:
            raise ConfigurationError(
                f"A template may have at most {MAX_TEMPLATE:,} characters, this one has {len(template):,}"
            )
        budget = _Budget()
        try:
            tree = self._environment.parse(template)
            steps = _restrict(tree)
            budget.spend(steps * (_COMPILE_COST + _EVALUATION_COST))
            return _Compiled(self._environment.from_string(tree), _names(tree), budget.left)
        except TemplateSyntaxError as error:
            raise ConfigurationError(f"The template is invalid: {error.message} (line {error.lineno})") from error
        except TemplateTooCostly:
            raise
        except (SyntaxError, RecursionError, MemoryError, TemplateError, ValueError) as error:
            raise ConfigurationError(f"The template is invalid or too deeply nested: {type(error).__name__}") from error


class _Environment(ImmutableSandboxedEnvironment):
    """An environment with a few filters and tests, and lookups in JSON values only."""

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)
    intercepted_unops = frozenset(ImmutableSandboxedEnvironment.default_unop_table)

    def __init__(self) -> None:
        # Without the optimizer, which would evaluate constants before there is a budget.
        super().__init__(
            autoescape=False, loader=None, undefined=StrictUndefined, finalize=_output, cache_size=0, optimized=False
        )
        self.globals.clear()
        self.tests = {name: _meter_test(name) for name in _TESTS}
        self.filters = {name: FILTERS[name] for name in _FREE}
        self.filters |= {name: _meter_filter(name, factor, for_texts=True) for name, factor in _TEXT_FILTERS.items()}
        self.filters |= {name: _meter_filter(name, factor) for name, factor in _LIST_FILTERS.items()}
        self.filters |= {"join": _join, "round": _round, "sum": _sum, "tojson": _to_json, "urlencode": _urlencode}
        self.filters |= {_LOOP_ITEMS: _loop_items, _MEASURED: _measure_whole, _AS_TEXT: _as_text}

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A value by its name, without the attributes of Python objects."""
        if isinstance(obj, LoopContext) and attribute in _LOOP_ATTRIBUTES:
            return super().getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """A value by its name or number."""
        if isinstance(obj, Undefined):
            # Raises the error with the name that is undefined.
            return obj[argument]
        keyed = isinstance(obj, Mapping) and isinstance(argument, str)
        numbered = isinstance(obj, str | list | tuple) and isinstance(argument, int)
        if not isinstance(argument, str | int):
            raise TypeError(f"a value is looked up by a name or a number, not by {type(argument).__name__}")
        # It may appear in an error.
        name = argument[:_MAX_NAME] if isinstance(argument, str) else _number(argument, "looking up")
        try:
            return obj[argument] if keyed or numbered else self.undefined(obj=obj, name=name)
        except LookupError:
            return self.undefined(obj=obj, name=name)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic on numbers only, as texts and lists would grow."""
        return super().call_binop(context, operator, _number(left, operator), _number(right, operator))

    def call_unop(self, context: Any, operator: str, arg: Any) -> Any:
        """Arithmetic on numbers only."""
        return super().call_unop(context, operator, _number(arg, operator))


# --- checks -----------------------------------------------------------------------------------------------------------


def _restrict(node: nodes.Node, *, depth: int = 0, in_loop: bool = False) -> int:
    """Check that a template has only allowed nodes, and insert the filters that measure values.

    Returns:
        The number of nodes.
    """
    _check(node, depth=depth, in_loop=in_loop)
    inside = in_loop or isinstance(node, nodes.For)
    children = list(node.iter_child_nodes())
    count = 1 + sum(_restrict(child, depth=depth + 1, in_loop=inside) for child in children)
    if isinstance(node, nodes.For):
        node.iter = _through(_LOOP_ITEMS, node.iter, nodes.Const(count))
    elif isinstance(node, nodes.Compare | nodes.Operand):
        node.expr = _through(_MEASURED, node.expr)
    elif isinstance(node, nodes.Concat):
        node.nodes = [_through(_AS_TEXT, one) for one in node.nodes]
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
        node.node = _through(_MEASURED, node.node)
    return count


def _names(tree: nodes.Template) -> frozenset[str]:
    """The names that a template uses, without its loop variables."""
    names = list(tree.find_all(nodes.Name))
    return frozenset(one.name for one in names).difference((one.name for one in names if one.ctx == "store"), {"loop"})


def _through(name: str, value: Any, *arguments: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(value, name, list(arguments), [], None, None, lineno=value.lineno)


def _check(node: nodes.Node, *, depth: int, in_loop: bool) -> None:
    if depth > _MAX_DEPTH:
        _refuse(node, f"it is nested more than {_MAX_DEPTH} levels deep")
    if not isinstance(node, _NODES):
        _refuse(node, f"{type(node).__name__.lower()} is not allowed; {_ALLOWED}")
    if isinstance(node, nodes.Const | nodes.Getattr):
        _check_look_up(node)
    if isinstance(node, nodes.For) and (in_loop or node.recursive):
        _refuse(node, "a loop inside a loop is not allowed")
    if isinstance(node, nodes.Filter | nodes.Test):
        kind, known = ("filter", _FILTERS) if isinstance(node, nodes.Filter) else ("test", _TESTS)
        if node.name not in known:
            shown = ", ".join(sorted(one for one in known if one.isidentifier()))
            _refuse(node, f"unknown {kind} {node.name!r}; expected one of {shown}")
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            _refuse(node, f"* and ** in the arguments of a {kind} are not allowed")


_FILTERS: Final = (*_TEXT_FILTERS, *_LIST_FILTERS, *_FREE, "join", "round", "sum", "tojson", "urlencode")


def _check_look_up(node: nodes.Const | nodes.Getattr) -> None:
    if isinstance(node, nodes.Getattr):
        if node.attr.startswith("_"):
            _refuse(node, f"{node.attr!r} is not a value; names do not begin with an underscore")
    elif isinstance(node.value, float) and not isfinite(node.value):
        # Its text, inf, would be a name.
        _refuse(node, "a number is too large")


def _refuse(node: nodes.Node, why: str) -> None:
    raise TemplateSyntaxError(why, node.lineno)


# --- filters and tests ------------------------------------------------------------------------------------------------


def _budget(context: Context) -> _Budget:
    budget: _Budget = context.parent[_BUDGET]
    return budget


def _measure(budget: _Budget, value: Any) -> int:
    """The size of a value. It is spent while it is counted, as lists may contain one value many times."""
    size = _ITEM_COST + (len(value) if isinstance(value, str) else 0)
    budget.spend(size)
    if isinstance(value, list | tuple):
        return size + sum([_measure(budget, one) for one in value])
    if isinstance(value, Mapping):
        return size + sum([_measure(budget, key) + _measure(budget, one) for key, one in value.items()])
    if isinstance(value, int | float):
        return size + len(str(_number(value, "arithmetic")))
    if value is not None and not isinstance(value, str | Undefined):
        raise TypeError(f"{type(value).__name__} is not a value that a template can use")
    return size


@pass_context
def _measure_whole(context: Context, value: Any) -> Any:
    """The value, measured before it is read completely."""
    _measure(_budget(context), value)
    return value


@pass_context
def _as_text(context: Context, value: Any) -> str:
    """The value as text, for ``~``, ``join`` and text filters."""
    budget = _budget(context)
    size = _measure(budget, value)
    if isinstance(value, str):
        return value
    budget.spend(size * _REPR_FACTOR)
    return str(value)


@pass_context
def _output(context: Context, value: Any) -> Any:
    """The value as it is written to the text; ``None`` is empty."""
    if isinstance(value, str | Undefined):
        return value
    return "" if value is None else _as_text(context, value)


def _meter_filter(name: str, factor: int, *, for_texts: bool = False) -> Callable[..., Any]:
    """A filter of Jinja2 whose cost is spent before it is applied."""
    applied: Any = FILTERS[name]

    @pass_context
    @wraps(applied)
    def metered(context: Context, value: Any, *arguments: Any, **named: Any) -> Any:
        budget = _budget(context)
        budget.spend(_CALL_COST)
        if for_texts and not isinstance(value, Undefined):
            value = _as_text(context, value)
        size = _measure(budget, value)
        more = sum(_measure(budget, one) for one in (*arguments, *named.values()))
        budget.spend(size * factor * more if name in _TIMES_ARGUMENTS and more else (size + more) * factor)
        first = (context.environment, value) if name in _NEED_ENVIRONMENT else (value,)
        result = applied(*first, *arguments, **named)
        return list(result) if name in _ITERATORS and not isinstance(result, str) else result

    return metered


def _meter_test(name: str) -> Callable[..., Any]:
    """A test of Jinja2 whose cost is spent before it is applied."""
    applied: Any = TESTS[name]
    free = name in ("defined", "undefined", "none")

    @pass_context
    def metered(context: Context, value: Any, *arguments: Any) -> Any:
        budget = _budget(context)
        budget.spend(_CALL_COST)
        for one in () if free else (value, *arguments):
            _measure(budget, one)
            if name in _NUMBER_TESTS:
                _number(one, name)
        return applied(_as_text(context, value) if name in ("lower", "upper") else value, *arguments)

    return metered


@pass_context
def _join(context: Context, value: Iterable[object], between: str = "", attribute: str | None = None) -> str:
    """The items of a list, or one attribute of each, joined to a text."""
    if isinstance(value, Undefined):
        return str(value)
    budget = _budget(context)
    items = _items(value)
    budget.spend(_CALL_COST * (1 + len(items)))
    if attribute is not None:
        items = [context.environment.getitem(item, attribute) for item in items]
    texts = [str(_output(context, item)) for item in items]
    separator = str(_output(context, between))
    budget.spend(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


@pass_context
def _round(context: Context, value: Any, places: int = 0) -> Any:
    """A rounded number. Unlike the filter of Jinja2, the number of places is limited."""
    _budget(context).spend(_CALL_COST)
    if not 0 <= _number(places, "round") <= _MAX_PLACES:
        raise ValueError(f"round takes 0 to {_MAX_PLACES} places, got {places}")
    return round(_number(value, "round"), places)


@pass_context
def _sum(context: Context, value: Iterable[object], attribute: str | None = None, start: Any = 0) -> Any:
    """The sum of numbers. The filter of Jinja2 would also concatenate lists."""
    if isinstance(value, Undefined):
        return str(value)
    items = _items(value)
    _budget(context).spend(_CALL_COST * (1 + len(items)))
    if attribute is not None:
        items = [context.environment.getitem(item, attribute) for item in items]
    return sum([_number(item, "sum") for item in items], _number(start, "sum"))


@pass_context
def _to_json(context: Context, value: Any) -> str:
    """A value as JSON. The filter of Jinja2 would allow any indentation."""
    if isinstance(value, Undefined):
        return str(value)
    budget = _budget(context)
    # A control character becomes six characters.
    budget.spend(_CALL_COST + 6 * _measure(budget, value))
    return json.dumps(value, ensure_ascii=False)


@pass_context
def _urlencode(context: Context, value: Any) -> str:
    """A text for a URL, or a mapping as its query."""
    if isinstance(value, Undefined):
        return str(value)
    budget = _budget(context)
    # A character has up to four bytes, and each becomes three characters; lists inside are converted to text first.
    budget.spend(_CALL_COST + (12 if isinstance(value, str) else 40) * _measure(budget, value))
    return str(FILTERS["urlencode"](value))


@pass_context
def _loop_items(context: Context, value: Iterable[object], steps: int) -> Sequence[object]:
    """The items of a loop with this number of steps per item."""
    items = _items(value)
    _budget(context).spend(len(items) * steps * _EVALUATION_COST)
    return items


def _items(value: Iterable[object]) -> Sequence[object]:
    """The items of a list or mapping.

    Raises:
        TypeError: the value is neither.
        ValueError: it has too many items.
    """
    if isinstance(value, str):
        raise TypeError("a loop needs a list, got a text")
    if isinstance(value, Undefined):
        str(value)  # raises the error with the undefined name
    if not isinstance(value, list | tuple | Mapping):
        raise TypeError(f"a loop needs a list, got {type(value).__name__}")
    if len(value) > _MAX_ITEMS:
        raise ValueError(f"a loop may have at most {_MAX_ITEMS} items, this list has {len(value)}")
    return list(value)


def _number(value: Any, operator: str) -> Any:
    if isinstance(value, Undefined):
        str(value)  # raises the error with the undefined name
    if not isinstance(value, int | float):
        raise TypeError(f"{operator} needs numbers")
    if abs(value) >= _MAX_NUMBER:
        raise ValueError(f"a number must be between -{_MAX_NUMBER} and {_MAX_NUMBER}")
    return value


def _cut(pieces: Iterable[str]) -> str:
    """The joined pieces, cut to the maximum length."""
    text = ""
    for piece in pieces:
        text += piece[: MAX_TEXT + 1]
        if len(text) > MAX_TEXT:
            return f"{text[: MAX_TEXT - 1]}…"
    return text
