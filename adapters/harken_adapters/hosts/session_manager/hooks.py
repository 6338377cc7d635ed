"""Hooks around operations on feedback and metadata: ``hook(original_func, action, session_id, **kwargs)``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from typing import Any

#: ``hook(original_func, "add", session_id, feedback={...}, session_manager=manager)``. It calls
#: ``original_func(feedback)`` and returns its result. It may change the feedback, raise to reject it, or not call
#: ``original_func`` to skip it. A hook without a parameter for ``session_manager`` is called without it.
FeedbackHook = Callable[..., Any]

#: ``hook(original_func, action, session_id, **kwargs)``. Actions: ``"update"`` with ``metadata`` and ``"delete"`` with
#: ``keys``, which ``original_func`` takes, and ``"get"``, for which it takes no argument.
MetadataHook = Callable[..., Any]

#: One hook, several (the first is the outermost), or none.
Hooks = Callable[..., Any] | Sequence[Callable[..., Any]] | None


def chain(*given: Hooks) -> tuple[Callable[..., Any], ...]:
    """All given hooks, the outermost first."""
    hooks: list[Callable[..., Any]] = []
    for one in given:
        if one is not None:
            hooks.extend([one] if callable(one) or isinstance(one, str) else one)
    if wrong := [hook for hook in hooks if not callable(hook)]:
        raise TypeError(f"A hook must be callable, got {wrong[0]!r}")
    return tuple(hooks)


def call_through(
    hooks: Sequence[Callable[..., Any]],
    original: Callable[..., Any],
    action: str,
    session_id: str,
    *,
    session_manager: object = None,
    **arguments: Any,
) -> Any:
    """Call a function through hooks.

    Args:
        hooks: the outermost first.
        original: the function; it takes the arguments by position.
        action: the name of the operation, for the hooks.
        session_id: the session of the operation.
        session_manager: an argument for hooks that have a parameter of this name; ``None`` to pass nothing.
        arguments: the arguments of the function, which the hooks receive by name.
    """
    if not hooks:
        return original(*arguments.values())
    outermost, *inner = hooks
    names = tuple(arguments)

    def call_next(*changed: Any) -> Any:
        passed = dict(zip(names, changed, strict=True))
        return call_through(inner, original, action, session_id, session_manager=session_manager, **passed)

    if session_manager is not None and _takes(outermost, "session_manager"):
        arguments["session_manager"] = session_manager
    return outermost(call_next, action, session_id, **arguments)


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
