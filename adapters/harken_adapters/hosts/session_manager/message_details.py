"""What is stored with a message besides its content: the metrics of the agent, and interventions of guardrails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from strands.telemetry.metrics import EventLoopMetrics

GUARDRAIL_ACTION_BLOCKED: Final = "BLOCKED"
GUARDRAIL_STOP_REASONS: Final = frozenset({"guardrail_intervened", "content_filtered"})

_USAGE: Final = ("inputTokens", "outputTokens", "totalTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
_LATENCY: Final = ("latencyMs", "timeToFirstByteMs")
_EXECUTION: Final = ("call_count", "success_count", "error_count", "total_time", "average_time", "success_rate")
#: What a guardrail of Amazon Bedrock assesses: the policy, its list, and the members of an item that describe it.
_ASSESSED: Final = (
    ("contentPolicy", "filters", ("type", "confidence")),
    ("topicPolicy", "topics", ("name", "action")),
    ("wordPolicy", "customWords", ("match",)),
    ("wordPolicy", "managedWordLists", ("type", "match")),
    ("sensitiveInformationPolicy", "piiEntities", ("type", "action")),
    ("sensitiveInformationPolicy", "regexes", ("name", "action")),
    ("contextualGroundingPolicy", "filters", ("type", "score", "threshold")),
)
_POLICIES: Final = frozenset(policy for policy, _, _ in _ASSESSED)


def metrics_of(agent: object) -> dict[str, Any] | None:
    """The accumulated metrics of an agent; ``None`` before its first call of a model.

    Returns:
        ``accumulated_usage`` in tokens, ``accumulated_metrics`` in milliseconds, ``cycle_metrics`` in seconds, and
        ``tool_usage`` by the name of the tool.
    """
    metrics = getattr(agent, "event_loop_metrics", None)
    if not isinstance(metrics, EventLoopMetrics) or metrics.accumulated_metrics.get("latencyMs", 0) <= 0:
        return None
    summary = metrics.get_summary()
    return {
        "accumulated_usage": {name: summary["accumulated_usage"].get(name, 0) for name in _USAGE},
        "accumulated_metrics": {name: summary["accumulated_metrics"].get(name, 0) for name in _LATENCY},
        "cycle_metrics": {
            "cycle_count": summary["total_cycles"],
            "total_duration": summary["total_duration"],
            "average_cycle_time": summary["average_cycle_time"],
        },
        "tool_usage": {
            name: {figure: usage["execution_stats"][figure] for figure in _EXECUTION}
            for name, usage in summary["tool_usage"].items()
        },
    }


def guardrail_event(
    action: str, moment: datetime, stop_reason: str | None, trace: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The record of an intervention: ``action``, ``timestamp`` as ISO text, and what is known of the others."""
    policies = _policies(trace or {})
    return {
        "action": action,
        "timestamp": moment.isoformat(),
        **({"stop_reason": stop_reason} if stop_reason else {}),
        **({"policies_triggered": policies} if policies else {}),
        **({"trace": dict(trace)} if trace else {}),
    }


def _policies(trace: Mapping[str, Any]) -> dict[str, list[str]]:
    """The policies that intervened, with a description of each finding, such as ``HATE/HIGH``."""
    found: dict[str, list[str]] = {}
    for assessment in _assessments(trace):
        for policy, listed, members in _ASSESSED:
            for item in assessment.get(policy, {}).get(listed, ()):
                description = "/".join(str(item.get(member, "UNKNOWN")) for member in members)
                found.setdefault(policy, []).append(description)
    return found


def _assessments(trace: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The assessments of the input and of the outputs. Each is there directly, or by the ids of guardrails."""
    for given in (trace.get("inputAssessment", {}), *_listed(trace.get("outputAssessments", ()))):
        if _POLICIES.isdisjoint(given):
            for value in given.values():
                yield from (value if isinstance(value, list) else [value])
        else:
            yield given


def _listed(outputs: Any) -> list[Mapping[str, Any]]:
    return [outputs] if isinstance(outputs, Mapping) else list(outputs)
