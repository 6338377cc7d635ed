"""Hooks around what is done with feedback and metadata: ``hook(original_func, action, session_id, **kwargs)``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from typing import Any

#: ``hook(original_func, "add", session_id, feedback={...}, session_manager=manager)``. It calls
#: ``original_func(feedback)`` with what is to be kept and returns what that gives; it may change the feedback, raise to
#: refuse it, or not call on to skip it. A hook without a parameter for ``session_manager`` is called without it.
FeedbackHook = Callable[..., Any]

#: ``hook(original_func, action, session_id, **kwargs)``: ``"update"`` with ``metadata`` and ``"delete"`` with ``keys``,
#: which ``original_func`` takes, and ``"get"``, for which it takes nothing.
MetadataHook = Callable[..., Any]

#: One hook, several, of which the first is the outermost, or none.
Hooks = Callable[..., Any] | Sequence[Callable[..., Any]] | None


def chain(*given: Hooks) -> tuple[Callable[..., Any], ...]:
    """All hooks that were given, the outermost first."""
    hooks: list[Callable[..., Any]] = []
    for one in given:
        if one is not None:
            hooks.extend([one] if callable(one) or isinstance(one, str) else one)
    if wrong := [hook for hook in hooks if not callable(hook)]:
        raise TypeError(f"A hook must be callable, got {wrong[0]!r}")
    return tuple(hooks)


def called(
    hooks: Sequence[Callable[..., Any]],
    original: Callable[..., Any],
    action: str,
    session_id: str,
    *,
    session_manager: object = None,
    **arguments: Any,
) -> Any:
    """Do something through hooks.

    Args:
        hooks: the outermost first.
        original: what is done in the end; it takes the arguments by position.
        action: what the hooks are told that it is.
        session_id: the session that it is done in.
        session_manager: what hooks that have a parameter for it also receive; ``None`` to pass nothing.
        arguments: what the hooks are told by name.
    """
    if not hooks:
        return original(*arguments.values())
    outermost, *inner = hooks
    names = tuple(arguments)

    def go_on(*changed: Any) -> Any:
        passed_on = dict(zip(names, changed, strict=True))
        return called(inner, original, action, session_id, session_manager=session_manager, **passed_on)

    if session_manager is not None and _takes(outermost, "session_manager"):
        arguments["session_manager"] = session_manager
    return outermost(go_on, action, session_id, **arguments)


def _takes(hook: Callable[..., Any], name: str) -> bool:
    """Whether a hook can be called with an argument of that name; a decorated one only if both functions take it."""
    try:
        signatures = [signature(hook), signature(hook, follow_wrapped=False)]
    except (TypeError, ValueError):
        # Some functions written in C do not say what they take.
        return False
    return all(any(_is_for(parameter, name) for parameter in one.parameters.values()) for one in signatures)


def _is_for(parameter: Parameter, name: str) -> bool:
    if parameter.kind is Parameter.VAR_KEYWORD:
        return True
    return parameter.name == name and parameter.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
