"""The cache of models."""

import os
from itertools import count
from threading import Barrier, Event, Thread

import pytest

from harken.services.sentiment import ModelCache
from support import PATIENCE, in_threads


@pytest.fixture
def fitted() -> list[str]:
    """The applications for which a model was fitted, in order."""
    return []


@pytest.fixture
def cache(fitted: list[str]) -> ModelCache[int]:
    """A cache of models that stay current unless they are negative."""
    numbers = count()

    def fit(application: str) -> int:
        fitted.append(application)
        if application == "broken":
            raise RuntimeError
        return -1 if application == "changing" else next(numbers)

    return ModelCache(fit, lambda _, model: model >= 0, lambda _: 124_900)


def test_a_model_is_fitted_again_only_if_it_is_outdated(cache: ModelCache[int], fitted: list[str]) -> None:
    """Each application has its own."""
    assert cache.get("a") == cache.get("a") != cache.get("b")
    assert cache.get("changing") == cache.get("changing")
    assert fitted == ["a", "b", "changing", "changing"]


def test_a_failed_fit_is_repeated(cache: ModelCache[int], fitted: list[str]) -> None:
    """The error is the caller's, and the next call tries again."""
    for _ in range(2):
        with pytest.raises(RuntimeError):
            cache.get("broken")
    assert fitted == ["broken", "broken"]


def test_models_that_are_not_used_are_dropped(cache: ModelCache[int], fitted: list[str]) -> None:
    """Those that were used last are kept: with 124,900 terms each, eight of them."""
    for number in range(8):
        cache.get(str(number))
    cache.get("0")
    cache.get("another")
    cache.get("0")
    assert fitted.count("0") == 1
    cache.get("1")
    assert fitted.count("1") == 2


@pytest.mark.parametrize(("terms", "applications"), [(100, 1_000), (2_000_000, 1)])
def test_the_number_of_models_depends_on_their_size(terms: int, applications: int) -> None:
    """A thousand small models are kept, and the last one even if it is larger than all together may be."""
    fitted: list[str] = []
    cache = ModelCache(lambda name: fitted.append(name) or len(fitted), lambda _, __: True, lambda _: terms)
    for _ in range(2):
        for number in range(applications):
            cache.get(str(number))
    assert len(fitted) == applications


@pytest.mark.parametrize("step", ["fit", "check"])
def test_applications_do_not_wait_for_each_other(step: str) -> None:
    """Neither while a model is fitted, nor while a storage does not answer whether it is current."""
    begun, end = Event(), Event()

    def wait_if_slow(now: str, application: str) -> bool:
        if (now, application) == (step, "slow"):
            begun.set()
            assert end.wait(PATIENCE)
        return True

    cache = ModelCache(lambda one: wait_if_slow("fit", one), lambda one, _: wait_if_slow("check", one), lambda _: 0)
    if step == "check":
        cache.get("slow")
    waiting = Thread(target=cache.get, args=("slow",))
    waiting.start()
    assert begun.wait(PATIENCE)
    other = Thread(target=cache.get, args=("quick",), daemon=True)
    other.start()
    other.join(PATIENCE / 10)
    has_answered = not other.is_alive()
    end.set()
    waiting.join(PATIENCE)
    assert has_answered


def test_threads_share_a_model(cache: ModelCache[int], fitted: list[str]) -> None:
    """It is fitted once, even if several need it at the same time."""
    start = Barrier(8)

    def get() -> int:
        start.wait()
        return cache.get("a")

    assert in_threads([get] * 8) == [0] * 8
    assert fitted == ["a"]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork() -> None:
    """A forked process does not wait for a fit in its parent."""
    begun, end = Event(), Event()

    def fit(application: str) -> int:
        if application == "slow":
            begun.set()
            assert end.wait(PATIENCE)
        return 0

    cache = ModelCache(fit, lambda _, __: True, lambda _: 0)
    fitting = Thread(target=cache.get, args=("slow",))
    fitting.start()
    assert begun.wait(PATIENCE)
    child = os.fork()
    if child == 0:
        cache.get("quick")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    end.set()
    fitting.join(PATIENCE)
