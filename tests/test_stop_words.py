"""Stop words of languages."""

import pytest
import stopwordsiso

from harken.domain.insight.terms import words
from harken.stop_words import stop_words


@pytest.mark.parametrize("language", ["bn", "hi"])
def test_stop_words_with_combining_marks_are_found_in_comments(language: str) -> None:
    """They are compared in the form that words of comments have, however the lists encode them."""
    listed = [found[0] for word in stopwordsiso.stopwords(language) if len(found := words(word)) == 1]
    assert len(listed) > 90
    assert set(listed) <= stop_words([language])
