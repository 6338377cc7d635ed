"""Why feedback is held, and what was decided, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from attrs import frozen

from harken import Feedback, Moderation, ModerationStatus, RuleMatch
from harken.domain.rules import SPAM
from harken_adapters.charts.labels import isolated
from harken_adapters.hosts.web.wording import first_upper

#: The names of rules whose own names are not the start of a sentence about one entry.
_NAMES: Final = {"spam phrases": "Spam phrase", "near-duplicates": "Nearly the same text several times"}
_MOST_QUOTES: Final = 3
_LONGEST_QUOTE: Final = 60
#: The reasons that can be chosen; others are typed.
REASONS: Final = ("spam", "off-topic", "abusive", "personal data", "duplicate")
#: What a moderator did.
VERBS: Final = {
    ModerationStatus.APPROVED: "approved",
    ModerationStatus.REJECTED: "rejected",
    ModerationStatus.PENDING: "held again",
}
Parts = tuple[tuple[str, bool], ...]


@frozen(kw_only=True)
class Held:
    """Why feedback is held.

    Attributes:
        title: the first reason: ``Spam phrase “click here”``.
        more: what continues it: ``and “limited offer”``; empty if nothing does.
        rules: the names of the rules.
    """

    title: str
    more: str
    rules: tuple[str, ...]


def held(feedback: Feedback) -> Held:
    """Why feedback is held. Of entries that were held before Harken stored rules, only the reason is known."""
    moderation = feedback.moderation
    if moderation.decided_at is not None and not moderation.is_undo:
        title = f"Held again by {isolated(moderation.moderator or 'a moderator')}"
        return Held(title=title, more=f": {isolated(moderation.reason)}" if moderation.reason else "", rules=())
    if not moderation.held_by:
        return Held(title=first_upper(moderation.reason) or "Held without a reason", more="", rules=())
    first, *others = [_Sentence.of(match, feedback) for match in moderation.held_by]
    if not others and not first.quotes and moderation.reason != SPAM.message:
        first = _Sentence(first_upper(moderation.reason) or first.name, ())
    more = [f"and “{isolated(quote)}”" for quote in first.quotes[1:]]
    more += [f"and {one.name[:1].lower()}{one.name[1:]}{one.quoted}" for one in others]
    title = f"{first.name} “{isolated(first.quotes[0])}”" if first.quotes else first.name
    return Held(title=title, more=" ".join(more), rules=tuple(match.rule for match in moderation.held_by))


@frozen
class _Sentence:
    """The name of a rule, and the words that it matched."""

    name: str
    quotes: tuple[str, ...]

    @property
    def quoted(self) -> str:
        return "".join(f" “{isolated(quote)}”" for quote in self.quotes)

    @classmethod
    def of(cls, match: RuleMatch, feedback: Feedback) -> _Sentence:
        found = [feedback.comment[start:end].strip()[:_LONGEST_QUOTE] for start, end in match.spans]
        # The first of those that differ in case only.
        distinct = {quote.casefold(): quote for quote in reversed(found) if quote}
        return cls(_NAMES.get(match.rule, first_upper(match.rule)), tuple(reversed(distinct.values()))[:_MOST_QUOTES])


def marked(feedback: Feedback) -> Parts:
    """The comment in parts, each with whether a rule matched it."""
    size = len(feedback.comment)
    spans = sorted(span for match in feedback.moderation.held_by for span in match.spans)
    return tuple(_parts(feedback.comment, [(start, min(end, size)) for start, end in spans]))


def _parts(text: str, spans: Sequence[tuple[int, int]]) -> Iterator[tuple[str, bool]]:
    edges = sorted({0, len(text), *(edge for span in spans for edge in span)})
    for start, end in pairwise(edges):
        yield text[start:end], any(first <= start and end <= last for first, last in spans)


def verb_this(status: ModerationStatus) -> str:
    """What a moderator did with an entry: ``approved this``, ``held this again``."""
    first, *more = VERBS[status].split(" ")
    return " ".join([first, "this", *more])


def reason_text(moderation: Moderation) -> str:
    """The reason of a decision, to follow the verb: ``as spam``, or the moderator's own words in quotes."""
    reason = moderation.reason
    if not reason or moderation.status is ModerationStatus.PENDING:
        return ""
    return f"as {reason}" if reason in REASONS else f"(“{isolated(reason)}”)"


def decided_text(moderation: Moderation, me: str | None, count: int = 1) -> str:
    """Who decided what: ``Priya approved``, ``you rejected as spam``; on several, ``you rejected 5 as spam``."""
    number = f"{count:,}" if count > 1 else ""
    words = (who(moderation.moderator, me), VERBS[moderation.status], number, reason_text(moderation))
    return " ".join(filter(None, words))


def decision_sentence(feedback: Feedback, me: str | None, age: str) -> str:
    """Who decided what on an entry that does not wait: such as ``Priya rejected this as spam``."""
    moderation = feedback.moderation
    if moderation.decided_at is None:
        return "This was approved at once, as no rule held it."
    words = (first_upper(who(moderation.moderator, me)), verb_this(moderation.status), reason_text(moderation), age)
    return f"{' '.join(filter(None, words))} ago."


def suggested_reason(feedback: Feedback) -> str:
    """The reason that is chosen first for a rejection; empty for none."""
    return "spam" if any("spam" in rule.lower() for rule in feedback.moderation.rules) else ""


def who(moderator: str | None, me: str | None) -> str:
    """The name of a moderator; ``you`` for the visitor."""
    if moderator is None:
        return "a moderator"
    return "you" if moderator == me else isolated(moderator)
