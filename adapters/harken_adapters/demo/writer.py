"""Writes comments and conversations, from lists of sentences and words in ``comments/*.toml``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from random import Random
from typing import Any, Final

from attrs import frozen

from harken import Rating

#: ``[one|the other]``, and ``{word}`` or ``{word1}``; a word with a digit is the same in all texts of a conversation.
_CHOICE: Final = re.compile(r"\[([^\[\]]*)\]")
_WORD: Final = re.compile(r"\{([a-z]+)(\d?)\}")
#: After one of these, a sentence begins.
_STOPS: Final = (".", "!", "?", "。", "\N{FULLWIDTH EXCLAMATION MARK}", "؟")
#: The languages in whose lists the ends of comments have the full stops.
_OWN_STOPS: Final = ("ja", "zh", "ar", "he")
#: How often a comment that was written before is written again differently, before there is no comment.
_ATTEMPTS: Final = 20
_LOWER_CASE: Final = 0.12
_FULL_STOP: Final = 0.5


@cache
def _texts(name: str) -> Mapping[str, Any]:
    return tomllib.loads((files(__package__) / "comments" / f"{name}.toml").read_text(encoding="utf-8"))


@frozen
class Subject:
    """What a person has to say.

    Attributes:
        language: an ISO 639-1 code.
        tag: the reason tag of a thumbs-down.
        lines: sentences with choices and words.
        starts: what may come before a sentence.
        ends: what may come after it.
    """

    language: str
    tag: str | None
    lines: Sequence[str]
    starts: Sequence[str]
    ends: Sequence[str]


class Writer:
    """Writes in the languages of ``comments/*.toml``. No two comments are equal, except for spam."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._written: set[str] = set()

    def subject(self, language: str, rating: Rating, agent: str, incident: str | None = None) -> Subject:
        """What a person has to say about an answer of an agent.

        Args:
            language: an ISO 639-1 code.
            rating: the rating that the comment explains.
            agent: the agent that answered.
            incident: what was wrong with all answers at that time: ``release`` or ``outage``. Comments of the incident
                ``phrase`` are held by the spam filter by mistake.
        """
        mood = _texts(language)[rating.word]
        about = [one for one in mood["about"] if one.get("incident") == incident] or mood["about"]
        about = [one for one in about if agent in one.get("agents", (agent,))]
        # What only this agent does is mentioned more often.
        (found,) = self._random.choices(about, [2 if "agents" in one else 1 for one in about])
        return Subject(language, found.get("tag"), found["lines"], mood["starts"], mood["ends"])

    def comment(self, subject: Subject) -> str:
        """A comment, which is empty if all attempts were written before."""
        for _ in range(_ATTEMPTS):
            comment = self._compose(subject)
            if (known := comment.lower().rstrip(".")) not in self._written:
                self._written.add(known)
                return comment
        return ""

    def conversation(
        self, language: str, agent: str, incident: str | None = None, *, answers: int = 1, about: str = ""
    ) -> list[str]:
        """What a person and an agent write in turns, beginning with the person; empty in some languages.

        Args:
            language: an ISO 639-1 code.
            agent: the agent.
            incident: as in :meth:`subject`.
            answers: the smallest number of answers, if there is enough to say.
            about: a comment whose places and times they write about.
        """
        talks = [one for one in _texts(language).get("talks", ()) if one["agent"] == agent]
        self._random.shuffle(talks)
        # Those about the incident come first, and those about another one last.
        talks.sort(key=lambda one: one.get("incident") != incident)
        turns: list[str] = []
        for talk in talks:
            known: dict[str, str] = {}
            turns += [_capitalize(self._fill(language, text, known, about)) for text in talk["turns"]]
            if len(turns) >= 2 * answers:
                break
        return turns

    def spam(self, kind: str) -> str:
        """Spam of a kind in ``spam.toml``."""
        texts: str | list[str] = _texts("spam")[kind]
        text = texts if isinstance(texts, str) else self._random.choice(texts)
        return text.replace("{n}", str(self._random.randrange(10, 60)))

    def _compose(self, subject: Subject) -> str:
        language, random = subject.language, self._random
        start, sentence, end = (
            self._fill(language, random.choice(texts), {}) for texts in (subject.starts, subject.lines, subject.ends)
        )
        continues = end[1:2].isalpha() or end.startswith((" ¡", " ¿"))
        if language not in _OWN_STOPS and (continues or random.random() < _FULL_STOP):
            sentence = _stop(sentence)
        if not start or start.rstrip().endswith(_STOPS):
            sentence = _capitalize(sentence)
        elif "keep_case" not in _texts(language):
            sentence = _uncapitalize(sentence)
        comment = f"{_capitalize(start)}{sentence}{end}"
        return _uncapitalize(comment) if random.random() < _LOWER_CASE else comment

    def _fill(self, language: str, text: str, known: dict[str, str], about: str = "") -> str:
        """The text with one of each choice, and with words: those with a digit are in ``about`` if possible."""
        words = _texts(language)["words"]

        used: list[str] = []

        def word(match: re.Match[str]) -> str:
            begins_sentence = match.string[: match.start()].rstrip().endswith(_STOPS)
            return _capitalize(chosen(match)) if begins_sentence else chosen(match)

        def chosen(match: re.Match[str]) -> str:
            if match[0] in known:
                return known[match[0]]
            # Not "from Oslo to Oslo".
            candidates = [one for one in words[match[1]] if one not in used]
            named = [one for one in candidates if match[2] and one in about]
            used.append(self._random.choice(named or candidates))
            if match[2]:
                known[match[0]] = used[-1]
            return used[-1]

        text = _CHOICE.sub(lambda match: self._random.choice(match[1].split("|")), text)
        return _WORD.sub(word, text)


def _stop(sentence: str) -> str:
    return sentence if sentence.endswith(_STOPS) else f"{sentence}."


def _capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]


def _uncapitalize(text: str) -> str:
    """The text with a small first letter, unless its first word is a name or an abbreviation."""
    first = text.partition(" ")[0]
    return text if first == "I" or first.isupper() else text[:1].lower() + text[1:]
