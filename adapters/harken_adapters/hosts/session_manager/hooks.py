"""Hooks around what is done with feedback and metadata: ``hook(original_func, action, session_id, **kwargs)``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

#: ``hook(original_func, "add", session_id, feedback={...})``. It calls ``original_func(feedback)`` with what is to be
#: kept and returns what that gives; it may change the feedback, raise to refuse it, or not call on to skip it.
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
            hooks.extend([one] if callable(one) else one)
    if wrong := [hook for hook in hooks if not callable(hook)]:
        raise TypeError(f"A hook must be callable, got {wrong[0]!r}")
    return tuple(hooks)


def called(
    hooks: Sequence[Callable[..., Any]], original: Callable[..., Any], action: str, session_id: str, **arguments: Any
) -> Any:
    """Do something through hooks.

    Args:
        hooks: the outermost first.
        original: what is done in the end; it takes the arguments by position.
        action: what the hooks are told that it is.
        session_id: the session that it is done in.
        arguments: what the hooks are told by name.
    """
    if not hooks:
        return original(*arguments.values())
    outermost, *inner = hooks

    def go_on(*changed: Any) -> Any:
        return called(inner, original, action, session_id, **dict(zip(arguments, changed, strict=True)))

    return outermost(go_on, action, session_id, **arguments)
