"""What was understood of a file, for people and programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from harken import Submission
from harken.domain.instants import stamp_or_none
from harken.domain.texts import amount, excerpt, listed
from harken_adapters.formats.errors import BadRow
from harken_adapters.formats.import_options import FIELDS, FORMATS
from harken_adapters.formats.importing.plan import Plan, Sessions
from harken_adapters.formats.importing.profile import Profile
from harken_adapters.formats.importing.submissions import builder_for
from harken_adapters.formats.spreadsheet_csv import ID
from harken_adapters.formats.tables.source import STDIN

_SAMPLE: Final = 3
_SHOWN_VALUES: Final = 8
_SHOWN_NAMES: Final = 20
#: The width of cells of the sample, which leaves room for comments.
_CELL: Final = 14
_SEPARATORS: Final = {"\t": "tab"}
_WITHOUT_COLUMN: Final = {
    "session_id": "no column: each row is its own session, named by a digest of the row",
    "rating": "no column: all rows are neutral",
    "created_at": "no column: all rows are dated now",
}


def understood_record(profile: Profile, plan: Plan) -> dict[str, Any]:
    """What was understood, as JSON values."""
    layout = profile.layout
    return {
        "name": profile.name,
        "format": layout.format,
        "encoding": layout.encoding,
        "separator": layout.separator,
        "compression": layout.compression,
        "place": layout.place,
        "skipped": layout.skipped,
        "left_out_rows": layout.left_out,
        "is_rejects": layout.is_rejects,
        "is_export": plan.is_export,
        "rows": profile.rows + profile.unreadable,
        "unreadable_rows": profile.unreadable,
        "fields": {name: columns[0] if len(columns) == 1 else [*columns] for name, columns in plan.fields.items()},
        "constants": dict(plan.options.constants),
        "reason": plan.reason,
        "sessions": plan.sessions.name.lower(),
        "context": dict(plan.context),
        "left_out": [*plan.left_out],
        "absent": {name: [*columns] for name, columns in plan.absent.items()},
        "ratings": {text: rating.word for text, rating in plan.ratings.meanings().items()},
        "dates": {column: dict(forms.forms) for column, forms in plan.forms.items()},
        "ambiguous_dates": _doubts(plan, "ambiguous"),
        "skipped_dates": _doubts(plan, "skipped"),
        "rows_without_date": plan.undated,
        "zone": plan.dates.zone_name,
        "identity": _identity(plan),
        "hints": [*plan.hints],
        "sample": [] if plan.is_export else sample_of(profile, plan),
    }


def sample_of(profile: Profile, plan: Plan) -> list[dict[str, Any]]:
    """The first rows that can be imported, as they are; if none of the first can, the reasons why not."""
    builder = builder_for(plan, "default")
    # The sessions of rejected rows depend on where they are from.
    is_named_by_digest = profile.layout.is_rejects and plan.sessions is Sessions.ROW
    found: list[dict[str, Any]] = []
    problems: list[dict[str, Any]] = []
    for values in profile.sample:
        try:
            entry = _entry(builder.submission(values))
            if is_named_by_digest:
                entry["session_id"] = None
            found.append(entry)
        except BadRow as error:
            problems.append({"problem": str(error)})
        if len(found) == _SAMPLE:
            break
    return found or problems[:_SAMPLE]


def _entry(one: Submission) -> dict[str, Any]:
    return {
        "rating": getattr(one.rating, "word", one.rating),
        "created_at": stamp_or_none(one.created_at),
        "session_id": one.target.session_id,
        "message_id": one.target.message_id,
        "agent_id": one.target.agent_id,
        "author": one.author,
        "comment": one.comment,
        "tags": [*one.tags],
        "context": dict(one.context),
    }


def heading(profile: Profile) -> str:
    """The name of the file, its format and the number of its rows."""
    layout = profile.layout
    format_ = FORMATS.get(layout.format, "feedback in documents")
    parts = [f"{format_} in {layout.compression}" if layout.compression else format_, layout.encoding or ""]
    if layout.separator:
        parts.append(f"separated by {_SEPARATORS.get(layout.separator, repr(layout.separator))}")
    parts += [layout.place or "", f"{amount(layout.skipped, 'row')} before the header" if layout.skipped else ""]
    parts += [f"{amount(layout.left_out, 'row')} after the header left out" if layout.left_out else ""]
    parts += ["rejected rows of an earlier import" if layout.is_rejects else ""]
    unreadable = f", of which {profile.unreadable:,} cannot be read" if profile.unreadable else ""
    guess = "; encoding detected; if the sample looks wrong, add --encoding NAME" if layout.encoding_is_guess else ""
    rows = amount(profile.rows + profile.unreadable, "row")
    return f"{profile.name}: {', '.join(filter(None, parts))}; {rows}{unreadable}{guess}"


def understood_lines(profile: Profile, plan: Plan) -> list[tuple[str, str]]:
    """The fields, and for each, from where it is read, and how; none for a Harken export."""
    if plan.is_export:
        return []
    lines = [(name, text) for name in FIELDS if (text := _field_text(plan, name))]
    lines += [(name, _columns(plan.fields[name])) for name in plan.fields if name not in FIELDS]
    lines += [(name, f"always {value!r}") for name, value in plan.options.constants.items() if name not in FIELDS]
    context = ["the members of 'context'"] if plan.has_context else []
    context += [_renamed(column, name) for column, name in plan.context.items()]
    if context:
        lines.append(("context", listed(context, _SHOWN_NAMES)))
    lines.append(("identity", _identity_text(plan, is_stdin=profile.name == STDIN)))
    if plan.left_out:
        lines.append(("left out", listed([repr(name) for name in plan.left_out], _SHOWN_NAMES)))
    if plan.absent:
        absent = [f"{_columns(columns)} ({name})" for name, columns in plan.absent.items()]
        lines.append(("absent", listed(absent, _SHOWN_NAMES)))
    return lines


def _identity(plan: Plan) -> str:
    if plan.has_harken_ids:
        return ID
    return "content" if plan.rows_have_identity else "content and file name"


def _identity_text(plan: Plan, *, is_stdin: bool) -> str:
    """How rows are recognised when they are imported again."""
    if plan.has_harken_ids:
        return f"by {ID!r}: an entry that is stored is not stored again"
    if plan.rows_have_identity:
        return "by content: equal rows of several files are the same one"
    if is_stdin:
        return "by content: rows that were imported from stdin before are duplicates, whichever file they are from"
    return f"by content and the file name {plan.source!r}, as rows have no session, id or date"


def _field_text(plan: Plan, name: str) -> str:
    """Where a field is from, and how it is read; empty if it is from nowhere and that needs no words."""
    columns, constant = plan.fields.get(name), plan.options.constants.get(name)
    if name == "session_id" and plan.sessions is Sessions.ID:
        return f"no column: each row is its own session, named by {plan.id_column!r}"
    if columns:
        otherwise = f", otherwise {constant!r}" if constant else ""
        return f"{_columns(columns)}{_how(plan, name)}{otherwise}"
    if constant:
        return f"always {constant!r}"
    if name == "tags" and plan.reason:
        return repr(plan.reason)
    return _WITHOUT_COLUMN.get(name, "")


def _how(plan: Plan, name: str) -> str:
    if name == "rating":
        return f": {_ratings(plan)}"
    if name == "created_at":
        forms = sum((one.forms for one in plan.forms.values()), Counter())
        names = ", ".join(form for form, _ in forms.most_common())
        read = f"{names}, {_period(plan)}; those without a zone are in {plan.dates.zone_name}" if names else "no dates"
        undated = f"; {amount(plan.undated, 'row is', 'rows are')} dated now, without a date" if plan.undated else ""
        return f": {read}{_doubt_text(plan)}{undated}"
    return ""


def _period(plan: Plan) -> str:
    """The days of the first and the last date, which show a form that was read wrongly."""
    forms = [one for one in plan.forms.values() if one.forms]
    days = [f"{min(one.earliest for one in forms):%Y-%m-%d}", f"{max(one.latest for one in forms):%Y-%m-%d}"]
    return days[0] if days[0] == days[1] else " to ".join(days)


def _columns(columns: Sequence[str]) -> str:
    return " or ".join(map(repr, columns))


def _renamed(column: str, name: str) -> str:
    return repr(column) if column == name else f"{column!r} as {name}"


def _ratings(plan: Plan) -> str:
    meanings, counts = plan.ratings.meanings(), plan.ratings.counts
    words: dict[str, list[str]] = {"up": [], "down": [], "neutral": []}
    for text, rating in meanings.items():
        words[rating.word].append(text)
    parts = [f"{word} {sum(counts[one] for one in texts):,}{_values(word, texts)}" for word, texts in words.items()]
    if unread := [text for text in counts if text not in meanings]:
        parts.append(f"not understood {sum(counts[one] for one in unread):,}{_values('', unread)}")
    return ", ".join(parts)


def _values(word: str, texts: Sequence[str]) -> str:
    """The values in parentheses, unless they are only the word."""
    others = [text for text in texts if text.casefold() != word]
    if not any(others):
        return ""
    shown = [repr(text) if not text or " " in text else text for text in sorted(texts)][:_SHOWN_VALUES]
    return f" ({', '.join(shown)}{', …' if len(texts) > _SHOWN_VALUES else ''})"


def _doubts(plan: Plan, kind: str) -> int:
    return sum(forms.doubts[kind] for forms in plan.forms.values())


def _doubt_text(plan: Plan) -> str:
    ambiguous, skipped = _doubts(plan, "ambiguous"), _doubts(plan, "skipped")
    text = ""
    if ambiguous:
        occur = "occurs" if ambiguous == 1 else "occur"
        text += f"; {ambiguous:,} {occur} twice as clocks are set back, and the first time is taken"
    if skipped:
        does, is_ = ("does", "is") if skipped == 1 else ("do", "are")
        text += f"; {skipped:,} {does} not exist as clocks are set forward, and {is_} moved forward"
    return text


def sample_rows(profile: Profile, plan: Plan) -> tuple[list[str], list[list[str]]]:
    """The names and cells of a table of the first rows; the comment is last."""
    entries = sample_of(profile, plan)
    names = ["rating", "created_at", "session_id", "agent_id", "author", "tags", "comment"]
    used = [name for name in names if name in ("rating", "comment") or any(one.get(name) for one in entries)]
    return used, [[_cell(one, name) for name in used] for one in entries]


def _cell(entry: Mapping[str, Any], name: str) -> str:
    if "problem" in entry:
        return entry["problem"] if name == "comment" else "-"
    value = entry[name]
    text = "" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    if name == "created_at":
        return text[:16].replace("T", " ")
    return text if name == "comment" else excerpt(text, _CELL)
