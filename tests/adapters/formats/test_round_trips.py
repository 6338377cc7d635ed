"""An import restores an export exactly, in both formats."""

import csv
import io
import json
from operator import attrgetter
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

import harken
from harken import Feedback, Harken
from harken.testing import with_content
from harken.testing.strategies import feedback_entries, later_versions, texts
from harken_adapters.formats.csv_export import COLUMNS
from harken_adapters.formats.errors import BadRow
from harken_adapters.formats.exporting import WRITERS, write_all
from harken_adapters.formats.record import from_record, to_record
from harken_adapters.formats.spreadsheet_csv import guard, unguard
from import_files import imported as import_file
from support import a_feedback, a_submission

DANGEROUS = (
    "=1+1",
    "+1",
    "-1",
    "@a",
    "\tx",
    "\rx",
    "\uff1d1",
    "'=1",
    "''@a",
    "'",
    "''",
    "'x",
    "",
    '"',
    'a"b',
    "a\nb",
    "a\r\nb",
    "😡",
)


def any_text() -> st.SearchStrategy[str]:
    """Any text, often one that is special in CSV or in a spreadsheet."""
    return st.sampled_from(DANGEROUS) | texts() | st.builds(str.__add__, st.sampled_from(DANGEROUS), texts())


def labels() -> st.SearchStrategy[str]:
    """Valid ids, often ones that look like a formula."""
    return st.sampled_from(("=1+1", "@a", "'-1", "s")) | st.text("ab=+-@' ,;\"😡", min_size=1).filter(str.strip)


@st.composite
def any_feedback(draw: st.DrawFn) -> Feedback:
    """Feedback with any content, in any version."""
    feedback = draw(feedback_entries())
    author = draw(st.none() | labels())
    target = evolve(feedback.target, session_id=draw(labels()), agent_id=draw(st.none() | labels()))
    tags = tuple(draw(st.lists(labels(), max_size=3, unique=True)))
    feedback = evolve(
        with_content(feedback, comment=draw(any_text()), tags=tags),
        application="default",
        target=target,
        author=author,
        vote=feedback.vote and author is not None,
        reply=draw(st.none() | any_text()),
    )
    feedback = draw(st.just(feedback) | later_versions(feedback))
    return evolve(feedback, moderation=evolve(feedback.moderation, moderator=draw(st.none() | labels())))


def exported(feedback: list[Feedback], to: str) -> bytes:
    """The bytes of an export."""
    file = io.BytesIO()
    write_all(feedback, file, WRITERS[to])
    return file.getvalue()


def imported(hk: Harken, data: bytes, of: str) -> list[tuple[int, str, object]]:
    """Import a file. Returns the rejected rows."""
    return import_file(hk, data, of)[1]


def _key(feedback: Feedback) -> tuple[object, ...]:
    """What the idempotency key is unique in; the id if there is none."""
    return (
        (feedback.session_id, feedback.author, feedback.idempotency_key) if feedback.idempotency_key else (feedback.id,)
    )


def _vote_slot(feedback: Feedback) -> tuple[object, ...]:
    """What a vote is unique in; the id if it is none."""
    return (feedback.session_id, feedback.message_id, feedback.author) if feedback.vote else (feedback.id,)


@given(
    st.lists(any_feedback(), min_size=1, max_size=4, unique_by=(lambda one: one.id, _key, _vote_slot)),
    st.sampled_from(("csv", "jsonl")),
)
def test_every_field_survives_a_file(feedback: list[Feedback], of: str) -> None:
    """Every field of feedback read from a file equals the exported one."""
    entries = {one.id: one for one in feedback}
    with harken.connect("memory://") as hk:
        assert imported(hk, exported([*entries.values()], of), of) == []
        assert hk.collection.get_many("default", [*entries]) == entries


@given(any_text())
def test_unguard_is_the_inverse_of_guard(text: str) -> None:
    """Adding and removing the apostrophe restores every text."""
    assert unguard(guard(text)) == text


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "\t=1", "\r=1", "\uff1d1", "'=1", "''=1"])
def test_formulas_are_guarded(text: str) -> None:
    """A text that a spreadsheet could run, or that looks guarded, is prefixed with an apostrophe."""
    assert guard(text) == f"'{text}"


def test_apostrophes_in_other_files_are_text(hk: Harken) -> None:
    """Apostrophes are removed only from Harken exports."""
    assert imported(hk, b"session_id,rating,comment\ns,up,'@airline hi\n", "csv") == []
    assert [one.comment for one in hk.export()] == ["'@airline hi"]


#: A table of version 0.1.0, whose texts were guarded.
GUARDED = (
    "id,created_at,session_id,message_id,agent_id,author,rating,comment,tags,context,sentiment_polarity,"
    "sentiment_subjectivity,status,moderation,reply,version,updated_at,withdrawn_at,revisions,idempotency_key,"
    "fingerprint,vote,later_keys\r\n"
    "a,2026-03-04T12:00:00Z,s,,,'@ann,up,'=1+1,,,,,approved,,'',1,2026-03-04T12:00:00Z,,,,,false,\r\n"
    "b,2026-03-04T12:00:00Z,s,,,'@ann,up,''@you said,,,,,approved,,',1,2026-03-04T12:00:00Z,,,,,false,\r\n"
    "c,2026-03-04T12:00:00Z,s,,,'@ann,up,',,,,,approved,,,1,2026-03-04T12:00:00Z,,,,,FALSE,\r\n"
    "d,2026-03-04T12:00:00Z,s,,,'@ann,up,plain,,,,,approved,,'-ok,1,2026-03-04T12:00:00Z,,,,,false,\r\n"
)


def test_a_guarded_export_of_an_earlier_version_is_restored(hk: Harken) -> None:
    """Each text, and each reply, is without the apostrophe that the earlier version added."""
    assert imported(hk, GUARDED.encode(), "csv") == []
    contents = (("=1+1", "'"), ("'@you said", ""), ("'", None), ("plain", "-ok"))
    assert sorted(hk.export(), key=attrgetter("id")) == [
        a_feedback(feedback_id, comment=comment, reply=reply, author="@ann")
        for feedback_id, (comment, reply) in zip("abcd", contents, strict=True)
    ]


def test_a_table_for_programs_has_every_text_as_it_is() -> None:
    """Programs that read it get no apostrophe that nobody wrote."""
    texts = ["=1+1", "@airline hi", "-1", "'=x", "'", "\tx", ""]
    table = exported([a_feedback(comment=text, author=text or None) for text in texts], "csv").decode()
    rows = list(csv.DictReader(io.StringIO(table, newline="")))
    assert [(row["comment"], row["author"]) for row in rows] == [(text, text) for text in texts]


@pytest.mark.parametrize("of", ["csv", "jsonl"])
def test_an_import_restores_what_was_exported(hk: Harken, of: str) -> None:
    """The export of an import has the same bytes: versions, revisions, moderation, replies and tombstones."""
    app = hk.application
    vote = hk.collection.submit(a_submission("v", "up", author="ann", vote=True)).feedback
    hk.collection.submit(a_submission("v", "down", "=no\r\n'quoted' \"twice\" 😡", author="ann", vote=True))
    hk.collection.reply(app, vote.id, "")
    withdrawn = hk.submit("w", "up", context={"n": 1, "t": True, "f": 0.5, "x": None}).feedback
    hk.collection.withdraw(app, withdrawn.id)
    held = hk.submit("h", None, "@formula", tags=["a", "=b"], idempotency_key="k").feedback
    hk.moderation.decide(app, held.id, harken.ModerationStatus.REJECTED, moderator="mo", reason="-")
    everything = hk.query().in_any_state()
    before = exported(list(hk.collection.stream(everything)), of)
    with harken.connect("memory://") as other:
        assert imported(other, before, of) == []
        assert imported(other, before, of) == []
        assert exported(list(other.collection.stream(everything)), of) == before


@pytest.mark.parametrize("of", ["csv", "jsonl"])
def test_an_export_with_a_repeated_member_is_rejected(hk: Harken, of: str) -> None:
    """A row whose context has a name twice is rejected, as exports may be edited by hand."""
    twice = exported([a_feedback(context={"a": 1, "b": 2})], of)
    twice = twice.replace(b'""b"":2', b'""a"":2') if of == "csv" else twice.replace(b'"b":2', b'"a":2')
    [(_, reason, _)] = imported(hk, twice, of)
    assert reason.endswith('The member "a" appears twice')


def test_an_export_can_move_to_another_application(hk: Harken) -> None:
    """An export has no application, so it can be imported into any."""
    hk.submit("s", "up")
    data = exported(list(hk.export()), "jsonl")
    with harken.connect("memory://", application="other") as other:
        assert imported(other, data, "jsonl") == []
        assert [one.application for one in other.export()] == ["other"]


def test_later_versions_are_kept(hk: Harken) -> None:
    """An import does not overwrite feedback that changed since the export."""
    feedback = hk.submit("s", "up").feedback
    data = exported([feedback], "jsonl")
    hk.collection.withdraw(hk.application, feedback.id)
    assert imported(hk, data, "jsonl") == []
    assert hk.collection.get(hk.application, feedback.id).withdrawn


def test_a_later_version_is_rejected(hk: Harken) -> None:
    """A later version in the file is rejected, not a duplicate, and the stored one is kept."""
    feedback = hk.submit("s", "up").feedback
    data = exported([feedback.withdraw(at=feedback.created_at)], "jsonl")
    [(_, reason, _)] = imported(hk, data, "jsonl")
    assert reason == "The earlier version 1 is stored and was kept; use harken copy to update it"
    assert list(hk.export()) == [feedback]


@pytest.mark.parametrize("other", [{"session_id": "t"}, {"created_at": "2020-01-01T00:00:00Z"}])
def test_a_taken_id_is_a_reason(hk: Harken, other: dict[str, Any]) -> None:
    """A row whose id is taken by other feedback is rejected."""
    taken = hk.submit("s", "up").feedback
    [(line, reason, _)] = imported(hk, json.dumps(to_record(taken) | other).encode(), "jsonl")
    assert (line, reason) == (1, f"Its id is taken by other feedback, {taken.id}")
    assert list(hk.export()) == [taken]


def test_the_reason_has_each_problem_once() -> None:
    """All problems of an invalid record are in the reason, and none is repeated for its revisions."""
    revision = {"version": 1, "replaced_at": "2026-01-01", "comment": "a\0b"}
    damaged = to_record(a_feedback("a")) | {"author": "", "moderation": {"moderator": ""}, "revisions": [revision] * 2}
    with pytest.raises(BadRow) as caught:
        from_record(damaged, "default")
    problems = ["author must not be empty", "comment must not contain NUL characters", "moderator must not be empty"]
    assert str(caught.value).split("; ") == problems


def test_a_taken_key_is_a_reason(hk: Harken) -> None:
    """A row whose idempotency key is taken by other feedback is rejected."""
    taken = hk.submit("s", "up", idempotency_key="k").feedback
    data = exported([evolve(taken, id="other", fingerprint="another body")], "jsonl")
    [(line, reason, _)] = imported(hk, data, "jsonl")
    assert (line, reason) == (1, f"Its idempotency key is taken by other feedback, {taken.id}")


def test_the_columns_of_a_table() -> None:
    """A CSV export has a header, also without rows, and its lines end with CRLF."""
    assert exported([], "csv") == f"{','.join(COLUMNS)}\r\n".encode()


DAMAGE: list[tuple[str, Any, str]] = [
    ("id", None, "no id"),
    ("id", "a\0b", "control characters"),
    ("session_id", 7, "session_id must be a string"),
    ("created_at", "yesterday", "created_at is not an ISO 8601 date"),
    ("created_at", 1, "created_at is not an ISO 8601 date"),
    ("created_at", "1969-01-01T00:00:00Z", "created_at must.*1970"),
    ("updated_at", "0001-01-01T00:00:00+14:00", "updated_at is not an ISO 8601 date"),
    ("version", True, "version must be a positive integer"),
    ("version", 0, "version must be a positive integer"),
    ("rating", "sideways", "Invalid rating: sideways"),
    ("rating", [], "Invalid rating"),
    ("comment", 1, "comment must be a string"),
    ("comment", "\ud800", "lone surrogate"),
    ("tags", "slow", "tags must be a list"),
    ("tags", [1], "tag must be a string"),
    ("context", [1], "context must map"),
    ("context", {"a b": 1}, "context name"),
    ("sentiment", 1, "sentiment must have"),
    ("sentiment", {"polarity": "1", "subjectivity": 1}, "polarity must be a number"),
    ("sentiment", {"polarity": 2, "subjectivity": 1}, "polarity must be between"),
    ("sentiment", {"polarity": 10**400, "subjectivity": 1}, "sentiment"),
    ("status", "fine", "status must be one of"),
    ("status", [], "status must be one of"),
    ("moderation", [1], "moderation must have"),
    ("moderation", {"previous": "fine"}, "previous must be one of"),
    ("moderation", {"reason": "a\0b"}, "NUL"),
    ("moderation", {"moderator": ""}, "moderator must not be empty"),
    ("moderation", {"moderator": 7}, "moderator must be a string"),
    ("reply", "a\0b", "reply must not contain NUL"),
    ("withdrawn_at", "soon", "withdrawn_at is not an ISO 8601 date"),
    ("revisions", {}, None),
    ("revisions", {"a": 1}, "revisions must be a list"),
    ("revisions", [1], "A revision must be an object"),
    ("revisions", [{"version": 1, "replaced_at": "2026-01-01", "comment": "\ud800"}], "lone surrogate"),
    ("revisions", [{"version": 1, "replaced_at": "2026-01-01", "tags": [1]}], "tag must be a string"),
    ("revisions", [{"version": 1, "replaced_at": "2026-01-01", "reply": 1}], "reply must be a string"),
    ("fingerprint", 1, "fingerprint must be a string"),
    ("later_keys", [["k"]], "later_keys must be a list of pairs"),
    ("later_keys", [["k", 1]], "fingerprint must be a string"),
    ("vote", "yes", "vote must be true or false"),
]


@pytest.mark.parametrize(("name", "value", "reason"), [case for case in DAMAGE if case[2]])
def test_an_invalid_record_affects_one_row(hk: Harken, name: str, value: object, reason: str) -> None:
    """An invalid row of an export is rejected, and the others are restored."""
    before, damaged, after = (to_record(a_feedback(feedback_id)) for feedback_id in ("a", "b", "c"))
    damaged[name] = value
    with pytest.raises(BadRow, match=reason):
        from_record(damaged, "default")
    lines = "\n".join(json.dumps(record) for record in (before, damaged, after))
    assert [(line, row) for line, _, row in imported(hk, lines.encode(), "jsonl")] == [(2, damaged)]
    assert {one.id for one in hk.export()} == {"a", "c"}


def test_an_invalid_cell_affects_one_row(hk: Harken) -> None:
    """The same in CSV, for a cell that is not valid JSON."""
    rows = list(csv.reader(io.StringIO(exported([a_feedback("a"), a_feedback("b")], "csv").decode(), newline="")))
    rows[1][COLUMNS.index("revisions")] = "[oops"
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    [(line, reason, row)] = imported(hk, text.getvalue().encode(), "csv")
    assert (line, reason) == (2, "revisions of a Harken export must be JSON, got '[oops'")
    assert isinstance(row, dict)
    assert row["id"] == "a"
    assert [one.id for one in hk.export()] == ["b"]
