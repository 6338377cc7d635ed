"""The text adapters are chosen in one call."""

import subprocess
import sys

import pytest

import harken
from harken import ConfigurationError, FeedbackRejected
from harken_adapters.text import (
    HeuristicSpamFilter,
    Nh3Sanitizer,
    TextBlobSentiment,
    VaderSentiment,
    text_adapters,
)


def test_all_of_them_together() -> None:
    """What the call gives is what ``connect`` takes, and each part does its work."""
    with harken.connect("memory://", **text_adapters()) as hk:
        feedback = hk.submit("s", "up", "<b>Great</b>, I <3 it").feedback
        assert feedback.comment == "Great, I <3 it"
        assert feedback.sentiment is not None
        assert feedback.sentiment.polarity > 0
        with pytest.raises(FeedbackRejected, match="Spam detected"):
            hk.submit("s", "up", "buy now " * 6)


def test_what_is_usual() -> None:
    """Without a word it is nh3, the heuristic filter and VADER."""
    chosen = text_adapters()
    assert [type(adapter) for adapter in chosen.values()] == [Nh3Sanitizer, HeuristicSpamFilter, VaderSentiment]


def test_what_was_chosen() -> None:
    """Each part can be left out or chosen otherwise, and phrases are those that are given."""
    chosen = text_adapters(sanitize=False, sentiment="textblob", spam_phrases=["buy now"])
    assert chosen["sanitizer"] is None
    assert isinstance(chosen["sentiment_analyzer"], TextBlobSentiment)
    assert text_adapters(sentiment="none")["sentiment_analyzer"] is None
    with harken.connect("memory://", spam_phrases=[], **chosen) as hk:
        assert hk.submit("s", "up", "<i>casino</i>").feedback.comment == "<i>casino</i>"
        with pytest.raises(FeedbackRejected, match="Spam detected"):
            hk.submit("s", "up", "Buy now!")


def test_an_unknown_word() -> None:
    """A sentiment that there is not is refused, with those that there are."""
    with pytest.raises(ConfigurationError) as caught:
        text_adapters(sentiment="bert")
    assert str(caught.value) == "sentiment must be one of 'vader', 'textblob', 'none', got 'bert'"


@pytest.mark.parametrize(
    ("adapter", "package"),
    [("Nh3Sanitizer", "nh3"), ("VaderSentiment", "vaderSentiment"), ("TextBlobSentiment", "textblob")],
)
@pytest.mark.slow
def test_a_missing_extra(adapter: str, package: str) -> None:
    """Whoever makes an adapter without its package is told what to install; what needs none of them works."""
    error = run(
        f"import sys; sys.modules[{package!r}] = None\n"
        "import harken, harken_adapters.text as text\n"
        "text.text_adapters(sanitize=False, sentiment='none')\n"
        f"try: text.{adapter}()\nexcept harken.MissingExtra as error: print(error)"
    )
    assert error == f'{adapter} needs the package {package!r}; try pip install "harken[text]"\n'


@pytest.mark.slow
def test_only_what_is_chosen_is_loaded() -> None:
    """VADER needs nothing of TextBlob and its toolkit, and importing the adapters loads no package at all."""
    loaded = run(
        "import sys; from harken_adapters.text import text_adapters\n"
        "packages = {'nh3', 'vaderSentiment', 'textblob', 'nltk', 'requests'}\n"
        "print(sorted(packages & sys.modules.keys()))\n"
        "text_adapters()\n"
        "print(sorted(packages & sys.modules.keys()))"
    )
    assert loaded == "[]\n['nh3', 'vaderSentiment']\n"


def run(program: str) -> str:
    """What a program prints in an interpreter of its own."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
