"""Words that say nothing of what a comment is about, such as "the", by language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harken import ConfigurationError
from harken_adapters.text.missing import missing

LANGUAGES: Final = ("en", "de", "es", "fr", "it", "pt", "nl")


def stop_words(languages: Sequence[str] = LANGUAGES) -> frozenset[str]:
    """The stop words of these languages together.

    Args:
        languages: ISO 639-1 codes.

    Raises:
        ConfigurationError: there is no list for one of the languages.
        MissingExtra: stopwordsiso is not installed.
    """
    try:
        import stopwordsiso  # noqa: PLC0415 - it may be missing
    except ModuleNotFoundError as error:
        raise missing("stop_words", "stopwordsiso") from error
    if unknown := sorted(set(languages) - set(stopwordsiso.langs())):
        raise ConfigurationError(f"There are no stop words for {', '.join(unknown)}; use ISO 639-1 codes such as 'en'")
    return frozenset(stopwordsiso.stopwords(list(languages)))
