"""Texts of routes by Jinja2, of which only what fills in places is left.

A template is checked before it is compiled: it can look up values, choose, count and go through a list, and nothing
else. So it cannot reach a Python object. Its work is counted, too: compiling it, each step of rendering it, and each
character that it reads or makes are taken from one budget before they happen. So it cannot use much processor time or
memory, no matter who wrote it.
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

#: How many characters a text may have; what is longer is cut.
LONGEST_TEXT: Final = 4_000
#: How many characters a template may have.
LONGEST_TEMPLATE: Final = 10_000
#: What compiling and rendering a template may cost together. One unit is about one character that is read or written.
WORK: Final = 2_000_000

#: What compiling one node of a template costs, evaluating it once, and calling a filter or a test.
_TO_COMPILE: Final = 1_000
_TO_EVALUATE: Final = 10
_TO_CALL: Final = 40
#: What each item of a list costs besides its characters.
_PER_ITEM: Final = 10
#: How many characters Python may need to show one that is in a list.
_IN_A_LIST: Final = 10
_LARGEST_NUMBER: Final = 2**64
_MOST_ITEMS: Final = 100
_MOST_PLACES: Final = 15
_MOST_COMPILED: Final = 256
_DEEPEST: Final = 60
_LONGEST_NAME: Final = 100
_LONGEST_ERROR: Final = 500

_STRUCTURE: Final = (nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For)
_LOOK_UP: Final = (nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.List, nodes.Tuple)
_APPLY: Final = (nodes.Filter, nodes.Test, nodes.Keyword, nodes.CondExpr, nodes.Concat)
_COMPARE: Final = (nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not)
_ARITHMETIC: Final = (nodes.Neg, nodes.Pos, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod)
#: What a template may be made of. No call, no variable of its own, no macro and no other template is among it.
_NODES: Final = (*_STRUCTURE, *_LOOK_UP, *_APPLY, *_COMPARE, *_ARITHMETIC)
_ALLOWED: Final = "a template can use {{ }}, {% if %}, {% for %}, operators except **, filters and tests"

#: What each character of a text may become, or costs, in these filters.
_OF_TEXTS: Final[Mapping[str, int]] = {
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
#: Likewise for what is in a list, or is not changed.
_OF_LISTS: Final[Mapping[str, int]] = {
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
#: These look at each item as often as their arguments are long, such as the dots in ``attribute="a.b"``.
_TIMES_ARGUMENTS: Final = frozenset({"max", "min", "sort", "trim", "unique"})
#: These give back what they were given, and look at none of it.
_FREE: Final = ("d", "default")
_TAKE_ENVIRONMENT: Final = frozenset({"first", "last", "max", "min", "sort", "truncate", "unique"})
#: These give an iterator; as a list it is measured like any other.
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
#: They calculate with ``%``, which formats texts.
_OF_NUMBERS: Final = ("divisibleby", "even", "odd")
_TESTS: Final = (*_SIGNS, *_KINDS, *_OF_NUMBERS, "false", "lower", "true", "upper")
#: What a loop tells of itself.
_OF_A_LOOP: Final = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length"})
#: Filters that are put where a loop, a slice, a comparison or ``~`` takes a value. No template can name them, nor the
#: value that the budget is.
_LOOP_ITEMS: Final = "at most so many"
_MEASURED: Final = "measured"
_AS_TEXT: Final = "as text"
_BUDGET: Final = "the budget"
#: What looking up, reckoning and filters raise where values are not what a template takes them for.
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
    """What may still be done for one template."""

    left: int = WORK

    def spend(self, work: int) -> None:
        """Take the work from what is left, before it is done."""
        if work > self.left:
            raise TemplateTooCostly(
                f"The template does too much work: compiling and rendering it may cost {WORK:,} units together, about "
                "one for each character that is read or written; shorten it, or apply fewer filters to long values"
            )
        self.left -= work


@frozen
class _Compiled:
    """A template that is ready, what it asks for by name, and what is left for rendering it."""

    template: Template
    names: frozenset[str]
    left: int


class JinjaRenderer:
    """Makes texts of templates. They look up values, as in ``{{ rating }}`` or ``{{ feedback.comment }}``.

    ``{% if %}``, ``{% for %}`` (not one in another), filters such as ``default``, ``join`` and ``truncate``, and
    arithmetic are there. What is ``None`` shows as nothing.
    """

    def __init__(self) -> None:
        self._environment = _Environment()
        self._compiled = lru_cache(maxsize=_MOST_COMPILED)(self._compile)

    def check(self, template: str) -> None:
        """Raise ``ConfigurationError`` if it cannot be a template; the error says what is wrong, and in which line."""
        self._compiled(template)

    def names(self, template: str) -> frozenset[str]:
        """The names of the values that a template asks for; raises what :meth:`check` does."""
        return self._compiled(template).names

    def render(self, template: str, values: Mapping[str, object]) -> str:
        """The template with its places filled in; what is over 4,000 characters is cut.

        Raises:
            TemplateTooCostly: compiling and rendering it would cost more than :data:`WORK`.
            ConfigurationError: it is not a template, asks for a value that is not there, or cannot do with a value
                what it says.
        """
        compiled = self._compiled(template)
        try:
            return _cut(compiled.template.generate({**values, _BUDGET: _Budget(compiled.left)}))
        except TemplateTooCostly:
            raise
        except UndefinedError as error:
            raise TemplateValueMissing(str(error)[:_LONGEST_ERROR]) from error
        except _FAILURES as error:
            raise ConfigurationError(f"The template cannot be filled in: {str(error)[:_LONGEST_ERROR]}") from error

    def _compile(self, template: str) -> _Compiled:
        if not isinstance(template, str):
            raise ConfigurationError(f"A template must be a string, got {type(template).__name__}")
        if len(template) > LONGEST_TEMPLATE:
            raise ConfigurationError(
                f"A template may have {LONGEST_TEMPLATE:,} characters at most, this one has {len(template):,}"
            )
        budget = _Budget()
        try:
            tree = self._environment.parse(template)
            steps = _restrict(tree)
            budget.spend(steps * (_TO_COMPILE + _TO_EVALUATE))
            return _Compiled(self._environment.from_string(tree), _names(tree), budget.left)
        except TemplateSyntaxError as error:
            raise ConfigurationError(f"The template cannot be read: {error.message} (line {error.lineno})") from error
        except TemplateTooCostly:
            raise
        except (SyntaxError, RecursionError, MemoryError, TemplateError, ValueError) as error:
            raise ConfigurationError(
                f"The template is too deeply nested, or cannot be read: {type(error).__name__}"
            ) from error


class _Environment(ImmutableSandboxedEnvironment):
    """Knows a few filters and tests and nothing else, and looks only into what JSON has."""

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)
    intercepted_unops = frozenset(ImmutableSandboxedEnvironment.default_unop_table)

    def __init__(self) -> None:
        # Nothing is evaluated while it is compiled: there is no budget then.
        super().__init__(
            autoescape=False, loader=None, undefined=StrictUndefined, finalize=_shown, cache_size=0, optimized=False
        )
        self.globals.clear()
        self.tests = {name: _metered_test(name) for name in _TESTS}
        self.filters = {name: FILTERS[name] for name in _FREE}
        self.filters |= {name: _metered(name, factor, of_texts=True) for name, factor in _OF_TEXTS.items()}
        self.filters |= {name: _metered(name, factor) for name, factor in _OF_LISTS.items()}
        self.filters |= {"join": _join, "round": _round, "sum": _sum, "tojson": _to_json, "urlencode": _urlencode}
        self.filters |= {_LOOP_ITEMS: _few, _MEASURED: _measured, _AS_TEXT: _as_text}

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A value by its name; attributes of Python objects are not there."""
        if isinstance(obj, LoopContext) and attribute in _OF_A_LOOP:
            return super().getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """A value by its name or number."""
        if isinstance(obj, Undefined):
            # It tells what was not there to begin with.
            return obj[argument]
        keyed = isinstance(obj, Mapping) and isinstance(argument, str)
        numbered = isinstance(obj, str | list | tuple) and isinstance(argument, int)
        if not isinstance(argument, str | int):
            raise TypeError(f"a value is looked up by a name or a number, not by {type(argument).__name__}")
        # It is shown in an error.
        name = argument[:_LONGEST_NAME] if isinstance(argument, str) else _number(argument, "looking up")
        try:
            return obj[argument] if keyed or numbered else self.undefined(obj=obj, name=name)
        except LookupError:
            return self.undefined(obj=obj, name=name)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic on numbers only: texts and lists would grow."""
        return super().call_binop(context, operator, _number(left, operator), _number(right, operator))

    def call_unop(self, context: Any, operator: str, arg: Any) -> Any:
        """Likewise."""
        return super().call_unop(context, operator, _number(arg, operator))


# --- what a template may be made of ---------------------------------------------------------------------------------


def _restrict(node: nodes.Node, *, depth: int = 0, in_loop: bool = False) -> int:
    """See that a template is made of nothing but what it may be made of, and let its values be measured where needed.

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
    """The names that a template asks for, without those of its loops."""
    names = list(tree.find_all(nodes.Name))
    return frozenset(one.name for one in names).difference((one.name for one in names if one.ctx == "store"), {"loop"})


def _through(name: str, value: Any, *arguments: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(value, name, list(arguments), [], None, None, lineno=value.lineno)


def _check(node: nodes.Node, *, depth: int, in_loop: bool) -> None:
    if depth > _DEEPEST:
        _refuse(node, f"it is nested more than {_DEEPEST} levels deep")
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
            _refuse(node, f"there is no {kind} {node.name!r}; known are {shown}")
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            _refuse(node, f"* and ** in the arguments of a {kind} are not allowed")


_FILTERS: Final = (*_OF_TEXTS, *_OF_LISTS, *_FREE, "join", "round", "sum", "tojson", "urlencode")


def _check_look_up(node: nodes.Const | nodes.Getattr) -> None:
    if isinstance(node, nodes.Getattr):
        if node.attr.startswith("_"):
            _refuse(node, f"{node.attr!r} is not a value; names do not begin with an underscore")
    elif isinstance(node.value, float) and not isfinite(node.value):
        # Its text, inf, would be a name.
        _refuse(node, "a number is too large")


def _refuse(node: nodes.Node, why: str) -> None:
    raise TemplateSyntaxError(why, node.lineno)


# --- what its parts do ----------------------------------------------------------------------------------------------


def _budget(context: Context) -> _Budget:
    budget: _Budget = context.parent[_BUDGET]
    return budget


def _measure(budget: _Budget, value: Any) -> int:
    """The characters and items in a value, which are spent while they are counted: lists may hold one value often."""
    size = _PER_ITEM + (len(value) if isinstance(value, str) else 0)
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
def _measured(context: Context, value: Any) -> Any:
    """The value, before something goes through all of it."""
    _measure(_budget(context), value)
    return value


@pass_context
def _as_text(context: Context, value: Any) -> str:
    """The value as ``~``, ``join`` and filters of texts take it."""
    budget = _budget(context)
    size = _measure(budget, value)
    if isinstance(value, str):
        return value
    budget.spend(size * _IN_A_LIST)
    return str(value)


@pass_context
def _shown(context: Context, value: Any) -> Any:
    """The value as it is written into the text: only lists and the like are made into text for that."""
    if isinstance(value, str | Undefined):
        return value
    return "" if value is None else _as_text(context, value)


def _metered(name: str, factor: int, *, of_texts: bool = False) -> Callable[..., Any]:
    """Jinja2's filter of that name, paid for before it is applied."""
    applied: Any = FILTERS[name]

    @pass_context
    @wraps(applied)
    def metered(context: Context, value: Any, *arguments: Any, **named: Any) -> Any:
        budget = _budget(context)
        budget.spend(_TO_CALL)
        if of_texts and not isinstance(value, Undefined):
            value = _as_text(context, value)
        size = _measure(budget, value)
        more = sum(_measure(budget, one) for one in (*arguments, *named.values()))
        budget.spend(size * factor * more if name in _TIMES_ARGUMENTS and more else (size + more) * factor)
        first = (context.environment, value) if name in _TAKE_ENVIRONMENT else (value,)
        made = applied(*first, *arguments, **named)
        return list(made) if name in _ITERATORS and not isinstance(made, str) else made

    return metered


def _metered_test(name: str) -> Callable[..., Any]:
    """Jinja2's test of that name, paid for before it is applied."""
    applied: Any = TESTS[name]
    free = name in ("defined", "undefined", "none")

    @pass_context
    def metered(context: Context, value: Any, *arguments: Any) -> Any:
        budget = _budget(context)
        budget.spend(_TO_CALL)
        for one in () if free else (value, *arguments):
            _measure(budget, one)
            if name in _OF_NUMBERS:
                _number(one, name)
        return applied(_as_text(context, value) if name in ("lower", "upper") else value, *arguments)

    return metered


@pass_context
def _join(context: Context, value: Iterable[object], between: str = "", attribute: str | None = None) -> str:
    """The items of a list as one text, or one value of each."""
    if isinstance(value, Undefined):
        return str(value)
    budget = _budget(context)
    items = _items(value)
    budget.spend(_TO_CALL * (1 + len(items)))
    if attribute is not None:
        items = [context.environment.getitem(item, attribute) for item in items]
    texts = [str(_shown(context, item)) for item in items]
    separator = str(_shown(context, between))
    budget.spend(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


@pass_context
def _round(context: Context, value: Any, places: int = 0) -> Any:
    """A number, rounded to a few places; Jinja2's own takes any number of them, and as long as it likes."""
    _budget(context).spend(_TO_CALL)
    if not 0 <= _number(places, "round") <= _MOST_PLACES:
        raise ValueError(f"a number may be rounded to 0 to {_MOST_PLACES} places, not to {places}")
    return round(_number(value, "round"), places)


@pass_context
def _sum(context: Context, value: Iterable[object], attribute: str | None = None, start: Any = 0) -> Any:
    """The sum of numbers; Jinja2's own also joins lists, copying them each time."""
    if isinstance(value, Undefined):
        return str(value)
    items = _items(value)
    _budget(context).spend(_TO_CALL * (1 + len(items)))
    if attribute is not None:
        items = [context.environment.getitem(item, attribute) for item in items]
    return sum([_number(item, "sum") for item in items], _number(start, "sum"))


@pass_context
def _to_json(context: Context, value: Any) -> str:
    """A value as JSON; Jinja2's own indents it as far as a template likes."""
    if isinstance(value, Undefined):
        return str(value)
    budget = _budget(context)
    # A control character becomes six.
    budget.spend(_TO_CALL + 6 * _measure(budget, value))
    return json.dumps(value, ensure_ascii=False)


@pass_context
def _urlencode(context: Context, value: Any) -> str:
    """A text for a URL, or a mapping as its query."""
    if isinstance(value, Undefined):
        return str(value)
    budget = _budget(context)
    # A character has up to four bytes, and each becomes three characters; in lists inside, it is shown before.
    budget.spend(_TO_CALL + (12 if isinstance(value, str) else 40) * _measure(budget, value))
    return str(FILTERS["urlencode"](value))


@pass_context
def _few(context: Context, value: Iterable[object], steps: int) -> Sequence[object]:
    """The items of a list to go through, each in so many steps."""
    items = _items(value)
    _budget(context).spend(len(items) * steps * _TO_EVALUATE)
    return items


def _items(value: Iterable[object]) -> Sequence[object]:
    """The items of a list, if they are few and it is one."""
    if isinstance(value, str):
        raise TypeError("a text is not a list to go through")
    if isinstance(value, Undefined):
        str(value)  # it tells what was not there
    if not isinstance(value, list | tuple | Mapping):
        raise TypeError(f"{type(value).__name__} is not a list to go through")
    if len(value) > _MOST_ITEMS:
        raise ValueError(f"a list to go through may have {_MOST_ITEMS} items, this one has {len(value)}")
    return list(value)


def _number(value: Any, operator: str) -> Any:
    if isinstance(value, Undefined):
        str(value)  # it tells what was not there
    if not isinstance(value, int | float):
        raise TypeError(f"{operator} is for numbers only")
    if abs(value) >= _LARGEST_NUMBER:
        raise ValueError(f"a number must be between -{_LARGEST_NUMBER} and {_LARGEST_NUMBER}")
    return value


def _cut(pieces: Iterable[str]) -> str:
    """What the pieces make together, as far as it may go."""
    text = ""
    for piece in pieces:
        text += piece[: LONGEST_TEXT + 1]
        if len(text) > LONGEST_TEXT:
            return f"{text[: LONGEST_TEXT - 1]}…"
    return text
