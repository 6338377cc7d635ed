"""Texts that change the direction of writing: they change only themselves."""

import re
import unicodedata
from collections.abc import Iterator

import pytest

import harken
from harken import Harken
from harken_adapters.charts.labels import isolated
from hosts.html_forms import Html
from hosts.serving import Server
from hosts.web.site import Visitor, served_at
from support import ManualClock

pytestmark = pytest.mark.slow

OVERRIDE = "\N{RIGHT-TO-LEFT OVERRIDE}"
END = "\N{POP DIRECTIONAL ISOLATE}"
#: A text that turns itself and what is after it; some first end the isolate that they are in.
HOSTILE = (
    f"{OVERRIDE}txet",
    f"{END}{OVERRIDE}txet",
    f"\N{RIGHT-TO-LEFT ISOLATE}{OVERRIDE}txet",
    f"{END}{END}txet{OVERRIDE}",
)


@pytest.fixture
def hk(clock: ManualClock) -> Iterator[Harken]:
    """A Harken that holds spam, and whose feedback is full of such texts."""
    with harken.connect("memory://", clock=clock, spam="hold", channels={"log": {"kind": "log"}}) as connected:
        for number, text in enumerate(HOSTILE):
            for comment in ("click here", "fine"):
                connected.submit(
                    f"{text}s{number}", "down", comment, agent_id=f"{text}a", author=f"{text}b", tags=[f"{text}t"]
                )
        connected.relay.run_due()
        yield connected


@pytest.fixture
def server(hk: Harken, clock: ManualClock) -> Iterator[Server]:
    """A server that requires keys."""
    with served_at(hk, clock, access="keys") as serving:
        yield serving


#: What may follow a change of direction: the rest of a text of others.
REST = re.compile(r"(?:txet|ecilA|mapS|me)?(?:s\d|a|b|t)?”?")


def is_balanced(text: str) -> bool:
    """Whether nothing that changes the direction reaches beyond a text of others."""
    if any(not REST.fullmatch(part) for part in re.findall(f"{OVERRIDE}([^{END}]*)", text)):
        return False
    depth = 0
    for character in text:
        kind = unicodedata.bidirectional(character)
        if kind in ("LRO", "RLO", "LRE", "RLE") and not depth:
            return False
        depth += (kind in ("LRI", "RLI", "FSI")) - (kind == "PDI")
        if depth < 0:
            return False
    return depth == 0


@pytest.mark.parametrize("text", HOSTILE)
def test_an_isolated_text(text: str) -> None:
    """It is closed in itself, and the order of what is beside it does not depend on it."""
    assert is_balanced(f"before {isolated(text)} after")
    assert not is_balanced(f"before {text} after")


def test_texts_from_left_to_right_stay() -> None:
    """Nothing is added to them, and names from right to left are isolated too."""
    assert isolated("Zoë, 5") == "Zoë, 5"
    assert isolated("مصر") == "\N{FIRST STRONG ISOLATE}مصر" + END


def texts(page: str) -> list[str]:
    """The texts of a page between its tags, without those that are paragraphs of their own, or isolated by HTML."""
    page = re.sub(r'<table class="agents.*?</table>', "", page, flags=re.DOTALL)
    page = re.sub(r'<(\w+)[^>]*(?: dir="auto"|id="(?:message|feedback)-id")[^>]*>.*?</\1>', "", page, flags=re.DOTALL)
    return re.findall(r">([^<]+)", page)


def test_pages(hk: Harken, server: Server) -> None:
    """On every page, each text of others is isolated in what is written around it."""
    admin = Visitor.signed_in(
        server, hk.keys.create("default", ["admin", "read", "moderate"], name=f"{OVERRIDE}me").text
    )
    waiting = [one.id for one in hk.moderation.queue(hk.query()).items]
    given = [one.id for one in hk.collection.find(hk.query()).items]
    hk.moderation.decide("default", waiting[0], "rejected", moderator=f"{OVERRIDE}ecilA", reason=f"{OVERRIDE}mapS")
    paths = [
        "",
        "/feedback",
        "/issues",
        "/filter?name=agent_id&page=overview",
        "/alerts?state=arrived",
        "/moderation",
        "/moderation?tab=rejected",
        "/settings",
        f"/feedback?agent_id={OVERRIDE}txeta&text=fine",
        f"/feedback?agent_id={OVERRIDE}txeta&agent_id={OVERRIDE}txet&author={OVERRIDE}txetb",
        f"?tag={OVERRIDE}txett&agent_id={OVERRIDE}txeta",
    ]
    paths += [f"/moderation?current={one}" for one in waiting] + [f"/feedback/{one}" for one in (*given, waiting[0])]
    for path in paths:
        answer = admin.get(f"/dashboard{path}")
        assert answer.status_code == 200, path
        assert OVERRIDE in answer.text or path == "/issues"
        wrong = [text for text in texts(answer.text) if not is_balanced(text)]
        assert not wrong, (path, wrong)


def test_values_are_exact(hk: Harken, server: Server) -> None:
    """What forms send and what is copied is the text itself."""
    admin = Visitor.signed_in(server, hk.keys.create("default", ["admin", "read", "moderate"]).text)
    for text in HOSTILE:
        page = Html(
            admin.session.get(f"{server.url}/dashboard/feedback", params={"agent_id": f"{text}a"}, timeout=30).text
        )
        assert f"{text}a" in [value for form in page.forms for _, value in form.fields]
