"""The vocabulary check finds every banned phrase, and only those."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def checker() -> ModuleType:
    """The script, imported as a module."""
    spec = importlib.util.spec_from_file_location("check_vocabulary", ROOT / "tools" / "check_vocabulary.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _phrases(checker: ModuleType, text: str, name: str = "docs/page.md") -> list[str]:
    return [phrase for _, phrase, _ in checker.check_text(name, text)]


BANNED = {
    "The body is no JSON": "is no",
    "These are no routes": "are no",
    "It can be no text": "be no",
    "It makes no sense": "makes no sense",
    "They make no sense": "make no sense",
    "Whoever asks": "whoever",
    "def test_whoever_asks(): ...": "whoever",
    "To whomsoever": "whomsoever",
    "Whatever is sent": "whatever",
    "It begins anew": "anew",
    "It is mended": "mended",
    "def mend(): ...": "mend",
    "A channel is told": "told",
    "self._told = 1": "told",
    "It comes behind it": "behind",
    "where_behind = 1": "behind",
    "It starts by itself": "by itself",
    "They end by themselves": "by themselves",
    "It ends of its own accord": "of its own accord",
    "As things stand": "as things stand",
    "It is a feedback.": "a feedback",
    "A feedback that was sent": "a feedback",
    "Many feedbacks": "feedbacks",
    "It is a down, and": "a down",
    "Each down counts": "each down",
    "For an up": "an up",
    "Three downs in a row": "downs i",
    "The downs with a comment are counted": "downs w",
    "More downs than ups arrived": "downs t",
    "Downs about American go to team": "downs a",
    "It suspects spam": "suspects spam",
    "Only this machine is served": "only this machine is served",
    "There is no such thing": "there is no such thing",
    "It cannot be done here": "cannot be done here",
    "See how channels fare": "fare",
    "It is over since noon": "over since",
    "It is 95% sure": "95% sure",
    "It was there already": "there already",
    "It does not fit.": "does not fit",
    "How news leaves the house": "leaves the house",
    "In this house": "this house",
    "Rehearse a rule": "rehears",
    "It stays as it is.": "as it is",
    "It stands in for a server": "stands in",
    "Show what stands": "what stands",
    "A bit of text": "a bit of",
    "So many seconds": "so many",
    "Somebody asks": "somebody",
    "Everybody asks": "everybody",
}


@pytest.mark.parametrize(("text", "phrase"), BANNED.items())
def test_each_banned_phrase_is_found(checker: ModuleType, text: str, phrase: str) -> None:
    """A phrase is found in a sentence, in a name, and at the end of a text."""
    assert phrase in _phrases(checker, text)
    assert phrase in _phrases(checker, f"First line.\n{text}")


def test_every_pattern_is_tested(checker: ModuleType) -> None:
    """Each pattern of the table finds one of the phrases above."""
    found = {instead for text in BANNED for _, _, instead in checker.check_text("docs/page.md", text)}
    assert found == {instead for _, instead in checker.BANNED}


@pytest.mark.parametrize(
    "text",
    [
        "It is no longer there",
        "It is no more than a test",
        "There is no route",
        "There are\n    no routes",
        "There can be no route",
        "A feedback button, a feedback entry and a feedback form",
        "session.add_feedback(one); session.get_feedbacks()",
        'document["feedbacks"] and `feedbacks`',
        "It runs behind a proxy, behind nginx, or behind a real nginx",
        "It runs behind one or several proxies: behind_a_proxy",
        "Scale it down, and clean it up",
        "streak.downs >= length",
        'rating="down", rating="up"',
        "[one for one in downs if one.comment]",
        "It does not fit into memory",
        'hk.summary(author="somebody")',
        "A recommendation is an amendment",
    ],
)
def test_other_phrases_are_accepted(checker: ModuleType, text: str) -> None:
    """Correct phrases with the same words are not reported."""
    assert _phrases(checker, text) == []


def test_a_phrase_is_found_across_lines(checker: ModuleType) -> None:
    """A phrase may be broken after any word, also within a comment; the line of its first word is reported."""
    text = "x = 1\n#: The body is\n#: no JSON\n"
    assert list(checker.check_text("a.py", text)) == [(2, "is no", "is not a ...")]


def test_stored_names_are_accepted_only_in_their_files(checker: ModuleType) -> None:
    """A stored name is accepted in its own context and file, and reported in any other."""
    for name, excerpts in checker.STORED.items():
        content = (ROOT / name).read_text(encoding="utf-8")
        for excerpt in excerpts:
            assert excerpt in content, f"{name} no longer contains {excerpt!r}"
            assert _phrases(checker, excerpt, name) == []
            assert _phrases(checker, excerpt, "another.py")
        assert "told" in _phrases(checker, "The channel is told", name)
