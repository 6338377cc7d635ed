"""Hooks around operations on feedback and metadata: ``hook(original_func, action, session_id, **kwargs)``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from inspect import Parameter, Signature, iscoroutinefunction, signature
from typing import Any

from harken_adapters.hosts.session_manager.aws import create_feedback_sns_hook

#: The name of :func:`create_feedback_sns_hook` in the hooks of mongodb_session_manager.
create_feedback_hook = create_feedback_sns_hook

#: ``hook(original_func, "add", session_id, feedback={...}, session_manager=manager)``. It calls
#: ``original_func(feedback)`` and returns its result. It may change the feedback, raise to reject it, or not call
#: ``original_func`` to skip it. A hook without a parameter for ``session_manager`` is called without it.
FeedbackHook = Callable[..., Any]

#: ``hook(original_func, action, session_id, **kwargs)``. Actions: ``"update"`` with ``metadata`` and ``"delete"`` with
#: ``keys``, which ``original_func`` takes, and ``"get"``, for which it takes no argument.
MetadataHook = Callable[..., Any]

#: One hook, several (the first is the outermost), or none.
Hooks = Callable[..., Any] | Sequence[Callable[..., Any]] | None


def hooks_of(hooks: Hooks, camel_case: Hooks, name: str) -> tuple[Callable[..., Any], ...]:
    """The hooks of an argument that has a deprecated spelling; the current spelling wins.

    Args:
        hooks: the argument ``<name>_hook``.
        camel_case: the argument ``<name>Hook``. Its warning names the caller of the function that calls this one.
        name: ``"feedback"`` or ``"metadata"``.

    Raises:
        TypeError: a hook is not callable, or is a coroutine function.
    """
    if camel_case is not None:
        warnings.warn(f"{name}Hook is deprecated; use {name}_hook", DeprecationWarning, stacklevel=3)
    given = camel_case if hooks is None else hooks
    if given is None:
        return ()
    listed = (given,) if callable(given) or isinstance(given, str) else tuple(given)
    if wrong := [hook for hook in listed if not callable(hook)]:
        raise TypeError(f"A hook must be callable, got {wrong[0]!r}")
    if wrong := [hook for hook in listed if iscoroutinefunction(hook) or iscoroutinefunction(type(hook).__call__)]:
        raise TypeError(f"A hook must not be a coroutine function, as nothing would wait for it, got {wrong[0]!r}")
    return listed


class _OriginalFunction:
    """What a hook gets as ``original_func``: like a method of the session manager, with one argument or none.

    The argument is passed by position or by name, also together with the ``session_manager`` that the hook received.
    """

    def __init__(self, proceed: Callable[..., Any], session_manager: object, names: Sequence[str]) -> None:
        self.__self__ = session_manager
        self._proceed = proceed
        self._names = names
        parameters = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names]
        ignored = Parameter("session_manager", Parameter.KEYWORD_ONLY, default=None)
        self.__signature__ = Signature([*parameters, ignored])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        given = self.__signature__.bind(*args, **kwargs).arguments
        return self._proceed(*(given[name] for name in self._names))


def call_through(
    hooks: Sequence[Callable[..., Any]],
    original: Callable[..., Any],
    action: str,
    session_id: str,
    *,
    session_manager: object,
    **arguments: Any,
) -> Any:
    """Call a function through hooks.

    Args:
        hooks: the outermost first.
        original: the function; it takes the arguments by position.
        action: the name of the operation, for the hooks. For ``"add"``, hooks that have a parameter
            ``session_manager`` receive it.
        session_id: the session of the operation.
        session_manager: the session manager.
        arguments: the arguments of the function, which the hooks receive by name.
    """
    if not hooks:
        return original(*arguments.values())
    outermost, *inner = hooks
    names = tuple(arguments)

    def proceed(*changed: Any) -> Any:
        passed = dict(zip(names, changed, strict=True))
        return call_through(inner, original, action, session_id, session_manager=session_manager, **passed)

    if action == "add" and _takes(outermost, "session_manager"):
        arguments["session_manager"] = session_manager
    return outermost(_OriginalFunction(proceed, session_manager, names), action, session_id, **arguments)


def _takes(hook: Callable[..., Any], name: str) -> bool:
    """Whether a hook accepts an argument of this name. A decorated hook does if both functions accept it."""
    try:
        signatures = [signature(hook), signature(hook, follow_wrapped=False)]
    except (TypeError, ValueError):
        # Some functions written in C have no signature.
        return False
    return all(any(_accepts(parameter, name) for parameter in one.parameters.values()) for one in signatures)


def _accepts(parameter: Parameter, name: str) -> bool:
    if parameter.kind is Parameter.VAR_KEYWORD:
        return True
    return parameter.name == name and parameter.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
