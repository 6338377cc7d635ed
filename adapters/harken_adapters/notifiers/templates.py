"""Texts of routes by Jinja2, of which only what fills in places is left.

A template is checked before it is compiled: it can look up values, choose, count and go through a list, and nothing
else. So it can neither reach a Python object nor run for long, whoever wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, wraps
from typing import Any, Final

from harken.domain.errors import ConfigurationError
from harken_adapters.notifiers.missing import missing

try:
    from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, Undefined, nodes, pass_environment
    from jinja2.filters import FILTERS
    from jinja2.runtime import LoopContext
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.tests import TESTS
except ModuleNotFoundError as error:
    raise missing("A template", "jinja2", "notify") from error

#: How many characters a text may have; what is longer is cut.
LONGEST_TEXT: Final = 4_000
#: How many characters a template may have.
LONGEST_TEMPLATE: Final = 10_000

_LONGEST_VALUE: Final = 100_000
_LARGEST_NUMBER: Final = 2**64
_MOST_ITEMS: Final = 100
_MOST_PLACES: Final = 15
_MOST_COMPILED: Final = 256

_STRUCTURE: Final = (nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For)
_LOOK_UP: Final = (nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.List, nodes.Tuple)
_APPLY: Final = (nodes.Filter, nodes.Test, nodes.Keyword, nodes.CondExpr, nodes.Concat)
_COMPARE: Final = (nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not)
_RECKON: Final = (nodes.Neg, nodes.Pos, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod)
#: What a template may be made of. No call, no variable of its own, no macro and no other template is among it.
_NODES: Final = (*_STRUCTURE, *_LOOK_UP, *_APPLY, *_COMPARE, *_RECKON)

_OF_TEXTS: Final = ("capitalize", "e", "escape", "lower", "string", "title", "trim", "truncate", "upper", "urlencode")
_OF_NUMBERS: Final = ("abs", "float", "int", "max", "min", "sum", "wordcount")
_OF_LISTS: Final = ("count", "dictsort", "first", "items", "last", "length", "reverse", "sort", "unique")
_FILTERS: Final = (*_OF_TEXTS, *_OF_NUMBERS, *_OF_LISTS, "d", "default")
_OWN_FILTERS: Final = ("join", "round", "tojson")

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
_TESTS: Final = (*_SIGNS, *_KINDS, "divisibleby", "even", "false", "lower", "odd", "true", "upper")
#: What a loop tells of itself.
_OF_A_LOOP: Final = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length"})
#: The filter that each loop goes through; no template can name it.
_FEW: Final = "at most so many"
#: What looking up, reckoning and filters raise where values are not what a template takes them for.
_FAILURES: Final = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError)


class JinjaRenderer:
    """Makes texts of templates. They look up values, as in ``{{ rating }}`` or ``{{ feedback.comment }}``.

    ``{% if %}``, ``{% for %}`` (not one in another), filters such as ``default``, ``join`` and ``truncate``, and
    reckoning with numbers are there. What is ``None`` shows as nothing.
    """

    def __init__(self) -> None:
        self._environment = _Environment()
        self._compiled = lru_cache(maxsize=_MOST_COMPILED)(self._compile)

    def check(self, template: str) -> None:
        """Raise ``ConfigurationError`` if it cannot be a template; the error says what is wrong, and in which line."""
        self._compiled(template)

    def render(self, template: str, values: Mapping[str, object]) -> str:
        """The template with its places filled in; what is over 4,000 characters is cut.

        Raises:
            ConfigurationError: it is no template, asks for a value that is not there, or cannot do with a value what
                it says.
        """
        compiled = self._compiled(template)
        try:
            return _cut(compiled.generate(values))
        except (
            TemplateError,
            TypeError,
            ValueError,
            ArithmeticError,
            LookupError,
            AttributeError,
            RecursionError,
        ) as error:
            raise ConfigurationError(f"The template cannot be filled in: {error}") from error

    def _compile(self, template: str) -> Template:
        if not isinstance(template, str):
            raise ConfigurationError(f"A template must be text, got {type(template).__name__}")
        if len(template) > LONGEST_TEMPLATE:
            raise ConfigurationError(
                f"A template may have {LONGEST_TEMPLATE:,} characters at most, this one has {len(template):,}"
            )
        try:
            tree = self._environment.parse(template)
            _restrict(tree, in_loop=False)
            return self._environment.from_string(tree)
        except TemplateSyntaxError as error:
            raise ConfigurationError(f"The template cannot be read: {error.message} (line {error.lineno})") from error
        except (SyntaxError, RecursionError, MemoryError, TemplateError, ValueError) as error:
            raise ConfigurationError("The template is too deeply nested, or cannot be read") from error


class _Environment(ImmutableSandboxedEnvironment):
    """Knows a few filters and tests and nothing else, and looks only into what JSON has."""

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)
    intercepted_unops = frozenset(ImmutableSandboxedEnvironment.default_unop_table)

    def __init__(self) -> None:
        super().__init__(autoescape=False, loader=None, undefined=StrictUndefined, finalize=_shown, cache_size=0)
        self.globals.clear()
        self.tests = {name: TESTS[name] for name in _TESTS}
        self.filters = {name: _bounded(FILTERS[name]) for name in _FILTERS}
        self.filters |= {"join": _join, "round": _round, "tojson": _bounded(_to_json), _FEW: _few}

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
        numbered = isinstance(obj, str | list | tuple) and isinstance(argument, int | slice)
        try:
            return obj[argument] if keyed or numbered else self.undefined(obj=obj, name=argument)
        except LookupError:
            return self.undefined(obj=obj, name=argument)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Reckon with numbers only: texts and lists would grow."""
        return super().call_binop(context, operator, _number(left, operator), _number(right, operator))

    def call_unop(self, context: Any, operator: str, arg: Any) -> Any:
        """Likewise."""
        return super().call_unop(context, operator, _number(arg, operator))


def _restrict(node: nodes.Node, *, in_loop: bool) -> None:
    """See that a template is made of nothing but what it may be made of, and that no loop is long or in another."""
    _check(node, in_loop=in_loop)
    if isinstance(node, nodes.For):
        node.iter = nodes.Filter(node.iter, _FEW, [], [], None, None, lineno=node.lineno)
        in_loop = True
    for child in node.iter_child_nodes():
        _restrict(child, in_loop=in_loop)


def _check(node: nodes.Node, *, in_loop: bool) -> None:
    name = getattr(node, "name", None)
    if not isinstance(node, _NODES):
        _refuse(node, f"{type(node).__name__.lower()} is nothing that a template may have")
    if isinstance(node, nodes.For) and (in_loop or node.recursive):
        _refuse(node, "a loop in a loop is nothing that a template may have")
    if isinstance(node, nodes.Filter):
        _check_name(node, name, "filter", (*_FILTERS, *_OWN_FILTERS, _FEW))
    if isinstance(node, nodes.Test):
        _check_name(node, name, "test", _TESTS)


def _check_name(node: nodes.Node, name: object, kind: str, known: Sequence[str]) -> None:
    if name not in known:
        shown = ", ".join(sorted(one for one in known if one.isidentifier()))
        _refuse(node, f"there is no {kind} {name!r}; known are {shown}")


def _refuse(node: nodes.Node, why: str) -> None:
    raise TemplateSyntaxError(why, node.lineno)


def _bounded(applied: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, refusing what is longer than any text could need to be: filters follow each other."""

    @wraps(applied)
    def bounded(*arguments: Any, **named: Any) -> Any:
        made = applied(*arguments, **named)
        if isinstance(made, str) and len(made) > _LONGEST_VALUE:
            raise ValueError("a filter makes too long a text")
        return made

    return bounded


@pass_environment
def _join(environment: _Environment, value: Iterable[object], between: str = "", attribute: str | None = None) -> str:
    """The items of a list as one text, or one value of each."""
    if isinstance(value, Undefined):
        return str(value)
    found = value if attribute is None else [environment.getitem(item, attribute) for item in value]
    return str(between).join(str(_shown(item)) for item in _few(found))


def _round(value: Any, places: int = 0) -> Any:
    """A number, rounded to a few places; Jinja2's own takes any number of them, and as long as it likes."""
    if not 0 <= _number(places, "round") <= _MOST_PLACES:
        raise ValueError(f"a number may be rounded to 0 to {_MOST_PLACES} places, not to {places}")
    return round(_number(value, "round"), places)


def _to_json(value: Any) -> str:
    """A value as JSON; Jinja2's own indents it as far as a template likes."""
    if isinstance(value, Undefined):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def _few(value: Iterable[object]) -> Sequence[object]:
    """The items of a list, if they are few and it is one."""
    if isinstance(value, str):
        raise TypeError("a text is no list to go through")
    items = list(value)
    if len(items) > _MOST_ITEMS:
        raise ValueError(f"a list to go through may have {_MOST_ITEMS} items, this one has {len(items)}")
    return items


def _number(value: Any, operator: str) -> Any:
    if isinstance(value, Undefined):
        str(value)  # it tells what was not there
    if isinstance(value, int | float) and abs(value) < _LARGEST_NUMBER:
        return value
    raise TypeError(f"{operator} is for numbers only")


def _shown(value: Any) -> Any:
    return "" if value is None else value


def _cut(pieces: Iterable[str]) -> str:
    """What the pieces make together, as far as it may go."""
    text = ""
    for piece in pieces:
        text += piece[: LONGEST_TEXT + 1]
        if len(text) > LONGEST_TEXT:
            return f"{text[: LONGEST_TEXT - 1]}…"
    return text
