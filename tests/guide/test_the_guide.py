"""All programs of the guide to feedback patterns run on Harken, with other imports, on memory and MongoDB."""

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean
from typing import Any, Final

import pytest
import requests
from attrs import frozen

import harken
from guide.blocks import Block, blocks
from guide.programs import SUBSTITUTIONS, Place, run
from harken_adapters.hosts.session_manager import MongoDBSessionManager, close_global_factory, get_global_factory
from hosts.serving import served, serving
from shared_data import skip_module_without_guide
from support import PATIENCE

# The guide uses the validators of an earlier pydantic, and deprecated names of arguments.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:feedbackHook is deprecated:DeprecationWarning"),
]

skip_module_without_guide()
BLOCKS: Final = list(blocks())
STRUCTURE, SIMPLE, VALIDATION, NOTIFICATION, ANALYTICS, COMBINED = BLOCKS[:6]
ENDPOINTS, CLIENT, ANALYSIS, PRODUCTION, HOOK, IDEMPOTENCY = BLOCKS[6:]


@pytest.fixture(params=["memory", "mongodb"])
def place(request: pytest.FixtureRequest) -> Place:
    """The storage of the guide's programs."""
    if request.param == "memory":
        return Place("memory://", "examples")
    server, _, database = request.getfixturevalue("mongodb_url").rpartition("/")
    name, _, options = database.partition("?")
    return Place(f"{server}/?{options}", name)


# --- Output -----------------------------------------------------------------------------------------------------------


@frozen
class Difference:
    """A difference from the output in the guide: a pattern, its replacement, and the reason."""

    block: Block
    shown: str
    printed: str
    why: str


DIFFERENCES: Final = (
    Difference(SIMPLE, r"(?<=Created: )2024\S+", "TIME", "it is another day"),
    Difference(
        SIMPLE,
        r"(User: .*\nAgent: (.*))\n\n",
        r"\2\1\n\n\n",
        "a Strands agent prints its answer while it is generated, and ends it with a newline",
    ),
    Difference(
        ANALYTICS,
        r"^(\d)\. Added",
        r"[ANALYTICS] Feedback recorded - Total: \1\n\1. Added",
        "the guide omits the log of the program",
    ),
    Difference(
        ANALYTICS,
        r"28\.7",
        "22.285714285714285",
        "156 characters in seven comments are 22.3 on average, and the program does not round",
    ),
)
#: The output of programs for which the guide shows none.
PRINTED: Final = {
    COMBINED.heading: """\
Let us look at it together.User: Help me debug this error
Agent: Let us look at it together.


Let us look at it together.User: Can you explain more?
Agent: Let us look at it together.


=== Session Summary ===

Metadata:
  agent_version: 1.5.0
  last_feedback_rating: up
  satisfaction_history: ['up', 'up']
  user_id: user-123
  user_name: Alice
  user_tier: premium

Feedback:
  1. up: Solved my problem quickly!
  2. up: Clear explanation

Analytics:
  User Tier: premium
  Total Feedback: 2
  Positive Feedback: 2
  Satisfaction Rate: 100%
""",
    ANALYSIS.heading: """\
=== Feedback Analysis ===

Trends by date:
  TIME: +3 -2 =0

Common issues in negative feedback:
  slow: 1 mentions
  unclear: 1 mentions
  error: 1 mentions
  incomplete: 1 mentions

Overall Quality Score: 60.0/100
""",
}


def expected_output(block: Block) -> str:
    """The output of a program in the guide, with the known differences."""
    output = PRINTED[block.heading] if block.output is None else block.output
    for difference in DIFFERENCES:
        if difference.block == block:
            output, times = re.subn(difference.shown, difference.printed, output, flags=re.MULTILINE)
            assert times, difference.why
    return output.rstrip()


@pytest.mark.parametrize(
    "block", [SIMPLE, VALIDATION, NOTIFICATION, ANALYTICS, COMBINED, ANALYSIS], ids=lambda block: block.heading
)
def test_a_program_prints_what_the_guide_shows(block: Block, place: Place, tmp_path: Path) -> None:
    """The output is equal to the last character, except for the differences above."""
    _, printed = run(place.adapt(block.code), tmp_path)
    today = r"(?<=Created: )\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}|\b\d{4}-\d\d-\d\d(?=: \+3)"
    assert re.sub(today, "TIME", printed).rstrip() == expected_output(block)


def test_the_mean_that_is_wrong_in_the_guide(tmp_path: Path) -> None:
    """The analytics print the mean length of the comments."""
    names, _ = run(Place("memory://", "examples").adapt(ANALYTICS.code), tmp_path)
    lengths = [len(feedback["comment"]) for feedback in names["feedbacks"]]
    assert names["metrics"]["avg_comment_length"] == pytest.approx(mean(lengths))
    assert (sum(lengths), len(lengths)) == (156, 7)
    with harken.connect("memory://") as hk:
        session = MongoDBSessionManager("session-1", harken=hk)
        for feedback in names["feedbacks"]:
            session.add_feedback(feedback)
        assert f"{hk.summary().average_comment_length:.1f}" == "22.3"


# --- Endpoints --------------------------------------------------------------------------------------------------------


@pytest.fixture
def endpoints(place: Place, tmp_path: Path) -> dict[str, Any]:
    """The names that the program with endpoints defines."""
    return run(place.adapt(ENDPOINTS.code), tmp_path, name="endpoints")[0]


def test_the_endpoints_answer_the_guides_client(endpoints: dict[str, Any], place: Place, tmp_path: Path) -> None:
    """The client prints what its comments say, after three entries of another client."""
    with serving(endpoints["app"]) as server:
        path = f"{server.url}/api/sessions/user-123/feedback"
        for rating, comment in [("up", "Great"), ("up", " Fine "), ("down", "Slow")]:
            assert requests.post(path, json={"rating": rating, "comment": comment}, timeout=PATIENCE).status_code == 200
        client = CLIENT.code.replace("http://localhost:8000", server.url)
        _, printed = run(place.adapt(client), tmp_path)
        rejected = [
            requests.post(path, json=body, timeout=PATIENCE)
            for body in ({"rating": "down"}, {"rating": "maybe"}, {"comment": "x" * 1001})
        ]
        stored = requests.get(path, timeout=PATIENCE).json()["feedbacks"]
    recorded, total, stats = printed.splitlines()
    assert (
        ast.literal_eval(recorded).items() >= {"status": "success", "message": "Feedback recorded successfully"}.items()
    )
    assert total == "Total feedbacks: 4"
    assert ast.literal_eval(stats) == {
        "session_id": "user-123",
        "total_feedbacks": 4,
        "positive": 3,
        "negative": 1,
        "neutral": 0,
        "satisfaction_score": 75.0,
    }
    assert [answer.status_code for answer in rejected] == [400, 422, 422]
    assert [feedback["comment"] for feedback in stored] == ["Great", "Fine", "Slow", "Great response!"]
    assert {feedback["_validated_at"] for feedback in stored} == {"2024-01-26T10:00:00.123456"}


def test_the_guides_client_works_on_the_service(tmp_path: Path) -> None:
    """The client works with the header on the HTTP page, which ``harken serve`` prints."""
    key_line = 'client.headers["Authorization"] = "Bearer " + Path("feedback.db.key").read_text().strip()\n'
    page = Path(__file__).parents[2] / "docs" / "http.md"
    assert key_line in page.read_text(encoding="utf-8")
    with harken.connect("memory://") as hk, served(hk, access="keys") as server:
        key_file = tmp_path / "feedback.db.key"
        key_file.write_text(f"{hk.keys.create('default', ['submit', 'read']).text}\n")
        session = f"client = requests.Session()\n{key_line}".replace("feedback.db.key", str(key_file))
        code = CLIENT.code.replace("requests.", "client.").replace("http://localhost:8000", server.url)
        imports = "from pathlib import Path\nimport requests\n"
        _, printed = run(f"{imports}{session}{code.removeprefix('import requests')}", tmp_path)
    recorded, total, stats = printed.splitlines()
    assert ast.literal_eval(recorded)["message"] == "Feedback recorded successfully"
    assert total == "Total feedbacks: 1"
    assert ast.literal_eval(stats)["satisfaction_score"] == 100.0


@pytest.fixture
def production(endpoints: dict[str, Any], place: Place, tmp_path: Path) -> Iterator[Any]:
    """The application of the best practices, which uses names of the program with endpoints."""
    required = {name: endpoints[name] for name in ("FeedbackRequest", "get_global_factory", "logger")}
    names, _ = run(place.adapt(PRODUCTION.code), tmp_path, name="production", **required)
    endpoints["initialize_global_factory"](connection_string=place.connection_string, database_name=place.database_name)
    yield names["app"]
    close_global_factory()


def test_the_best_practices(production: Any) -> None:
    """Markup is removed, spam and the sixth request in a minute are rejected, and other feedback is stored."""
    bodies: list[dict[str, Any]] = [
        {"rating": "up", "comment": "<b>Very</b> good"},
        {"rating": "up", "comment": "Click here for the casino"},
        *[{"rating": "up", "comment": "Good"}] * 4,
    ]
    with serving(production) as server:
        path = f"{server.url}/api/feedback?session_id=session-1"
        answers = [requests.post(path, json=body, headers={"User-Agent": "shop"}, timeout=PATIENCE) for body in bodies]
        assert requests.post(f"{server.url}/feedback", timeout=PATIENCE).status_code == 200
    assert [answer.status_code for answer in answers] == [200, 400, 200, 200, 200, 429]
    assert answers[1].json() == {"detail": "Spam detected"}
    first, *others = get_global_factory().create_session_manager("session-1").get_feedbacks()
    assert len(others) == 3
    assert (first["comment"], first["ip_address"], first["user_agent"]) == ("Very good", "127.0.0.1", "shop")
    assert first["sentiment"]["polarity"] == pytest.approx(0.91)
    assert first["sentiment"].keys() == {"polarity", "subjectivity"}


# --- Fragments --------------------------------------------------------------------------------------------------------


@pytest.fixture
def session_manager(place: Place) -> Iterator[MongoDBSessionManager]:
    """The session manager that a fragment requires."""
    opened = MongoDBSessionManager(
        "session-1", connection_string=place.connection_string, database_name=place.database_name
    )
    yield opened
    opened.close()


def test_feedback_has_the_structure_in_the_guide(session_manager: MongoDBSessionManager) -> None:
    """Feedback has these names, in this order, and a time in this format."""
    structure = ast.parse(STRUCTURE.code, mode="eval").body
    assert isinstance(structure, ast.Dict)
    names = [ast.literal_eval(name) for name in structure.keys if name is not None]
    session_manager.add_feedback({"rating": "up", "comment": "User feedback text"})
    (feedback,) = session_manager.get_feedbacks()
    assert list(feedback) == names
    example = ast.literal_eval(structure.values[names.index("created_at")])
    assert re.sub(r"\d", "0", feedback["created_at"]) == re.sub(r"\d", "0", example)


def test_a_hook_that_only_observes(place: Place, tmp_path: Path) -> None:
    """With the guide's hook against feedback that is not saved, feedback is stored."""
    hook: Callable[..., Any] = run(place.adapt(HOOK.code), tmp_path)[0]["my_hook"]
    with_hook = MongoDBSessionManager(
        "session-1",
        connection_string=place.connection_string,
        database_name=place.database_name,
        feedback_hook=hook,
    )
    with_hook.add_feedback({"rating": "up", "comment": "Saved"})
    assert [feedback["comment"] for feedback in with_hook.get_feedbacks()] == ["Saved"]
    with_hook.close()


def test_the_guides_idempotency(session_manager: MongoDBSessionManager, place: Place, tmp_path: Path) -> None:
    """Feedback whose id was recorded is not added again; other feedback is added."""
    for feedback_id in ("unique-id-123", "unique-id-124"):
        required = {
            "session_manager": session_manager,
            "feedback_id": feedback_id,
            "feedback": {"rating": "up", "comment": feedback_id},
        }
        run(place.adapt(IDEMPOTENCY.code), tmp_path, **required)
    assert [feedback["comment"] for feedback in session_manager.get_feedbacks()] == ["unique-id-124"]


# --- Completeness -----------------------------------------------------------------------------------------------------


#: Imports, the model, the storage, and code that the guide omits.
_MAY_CHANGE: Final = re.compile(
    r"^from |^\s*(model|connection_string|database_name)=|\(request: Request\)|add_feedback\(feedback\)"
)


def test_every_substitution_is_needed() -> None:
    """At least one block needs each substitution, and only the lines above are changed."""
    used = Counter(before for before in SUBSTITUTIONS for block in BLOCKS if before in block.code)
    assert used.keys() == SUBSTITUTIONS.keys()
    for block in BLOCKS:
        changed = set(Place("memory://", "examples").adapt(block.code).splitlines()) - set(block.code.splitlines())
        assert all(_MAY_CHANGE.search(line) for line in changed), changed
