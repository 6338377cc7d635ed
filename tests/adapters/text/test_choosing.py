"""The function ``text_adapters``."""

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


def test_all_adapters_together() -> None:
    """``connect`` accepts the adapters, and each of them works."""
    with harken.connect("memory://", **text_adapters()) as hk:
        feedback = hk.submit("s", "up", "<b>Great</b>, I <3 it").feedback
        assert feedback.comment == "Great, I <3 it"
        assert feedback.sentiment is not None
        assert feedback.sentiment.polarity > 0
        with pytest.raises(FeedbackRejected, match="Spam detected"):
            hk.submit("s", "up", "buy now " * 6)


def test_defaults() -> None:
    """The defaults are nh3, the heuristic filter and VADER."""
    chosen = text_adapters()
    assert [type(adapter) for adapter in chosen.values()] == [Nh3Sanitizer, HeuristicSpamFilter, VaderSentiment]


def test_options() -> None:
    """Each adapter can be omitted or replaced, and the phrases can be set."""
    chosen = text_adapters(sanitize=False, sentiment="textblob", spam_phrases=["buy now"])
    assert chosen["sanitizer"] is None
    assert isinstance(chosen["sentiment_analyzer"], TextBlobSentiment)
    assert text_adapters(sentiment="none")["sentiment_analyzer"] is None
    with harken.connect("memory://", spam_phrases=[], **chosen) as hk:
        assert hk.submit("s", "up", "<i>casino</i>").feedback.comment == "<i>casino</i>"
        with pytest.raises(FeedbackRejected, match="Spam detected"):
            hk.submit("s", "up", "Buy now!")


def test_an_unknown_sentiment_analysis() -> None:
    """The error lists the known ones."""
    with pytest.raises(ConfigurationError) as caught:
        text_adapters(sentiment="bert")
    assert str(caught.value) == "sentiment must be one of 'vader', 'textblob', 'none', got 'bert'"


@pytest.mark.parametrize(
    ("adapter", "package"),
    [("Nh3Sanitizer", "nh3"), ("VaderSentiment", "vaderSentiment"), ("TextBlobSentiment", "textblob")],
)
@pytest.mark.slow
def test_a_missing_extra(adapter: str, package: str) -> None:
    """Without its package, an adapter raises an error with the install command; others work."""
    error = run(
        f"import sys; sys.modules[{package!r}] = None\n"
        "import harken, harken_adapters.text as text\n"
        "text.text_adapters(sanitize=False, sentiment='none')\n"
        f"try: text.{adapter}()\nexcept harken.MissingExtra as error: print(error)"
    )
    assert error == f'{adapter} needs the package {package!r}; try pip install "harken[text]"\n'


@pytest.mark.slow
def test_packages_are_imported_on_demand() -> None:
    """Importing the adapters imports no package, and VADER does not import TextBlob."""
    loaded = run(
        "import sys; from harken_adapters.text import text_adapters\n"
        "packages = {'nh3', 'vaderSentiment', 'textblob', 'nltk', 'requests'}\n"
        "print(sorted(packages & sys.modules.keys()))\n"
        "text_adapters()\n"
        "print(sorted(packages & sys.modules.keys()))"
    )
    assert loaded == "[]\n['nh3', 'vaderSentiment']\n"


def run(program: str) -> str:
    """The output of a program in a new interpreter."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
