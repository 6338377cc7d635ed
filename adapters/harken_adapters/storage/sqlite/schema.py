"""The tables, as numbered migrations. A change is a new migration at the end; existing ones are never edited."""

from __future__ import annotations

from typing import Final

#: Identifies a file of Harken: "Hrkn" in ASCII, in the header field for the application id.
APPLICATION_ID: Final = 0x48726B6E

#: The columns of the table of counters.
COUNTS: Final = (
    "positive",
    "negative",
    "neutral",
    "comments",
    "comment_characters",
    "sentiments",
    "polarity",
    "subjectivity",
)

#: The SQL expression of each count for one row of feedback; ``{row}`` is NEW or OLD.
_COUNTED: Final = (
    "{row}.rating = 1",
    "{row}.rating = -1",
    "{row}.rating = 0",
    "{row}.comment <> ''",
    "length({row}.comment)",
    "{row}.polarity IS NOT NULL",
    "ifnull({row}.polarity, 0)",
    "ifnull({row}.subjectivity, 0)",
)

_MICROSECONDS_A_SLOT: Final = 15 * 60 * 1_000_000
_MICROSECONDS_AN_HOUR: Final = 60 * 60 * 1_000_000


def slot_of(column: str) -> str:
    """Return SQL for the quarter-hour slot of a time in microseconds."""
    return f"({column} / {_MICROSECONDS_A_SLOT})"


def hour_of(column: str) -> str:
    """Return SQL for the UTC hour of day of a time in microseconds."""
    return f"({column} / {_MICROSECONDS_AN_HOUR} % 24)"


def slot_of_time(microseconds: int) -> int:
    """Return the quarter-hour slot of a time, as :func:`slot_of` does."""
    return microseconds // _MICROSECONDS_A_SLOT


def hour_of_slot(slot: int) -> int:
    """Return the UTC hour of day of a slot."""
    return slot * _MICROSECONDS_A_SLOT // _MICROSECONDS_AN_HOUR % 24


def sums() -> str:
    """Return SQL that sums counters."""
    return ", ".join(f"sum({count})" for count in COUNTS)


def sums_of_rows() -> str:
    """Return SQL that sums the same counts over rows of feedback."""
    return ", ".join(f"sum({expression.format(row='feedback')})" for expression in _COUNTED)


def _counter() -> str:
    """Return SQL that creates the table of sums by application, span, agent ('' for none) and bucket of time.

    The span ``'slot'`` has a bucket for each quarter-hour slot; ``'hour'`` has 24, by UTC hour of day.
    """
    columns = ", ".join(f"{count} INTEGER NOT NULL" for count in COUNTS)
    return f"""
        CREATE TABLE counter (
            application TEXT NOT NULL,
            span TEXT NOT NULL CHECK (span IN ('slot', 'hour')),
            agent_id TEXT NOT NULL,
            bucket INTEGER NOT NULL,
            {columns},
            PRIMARY KEY (application, span, agent_id, bucket)
        ) STRICT, WITHOUT ROWID;
    """


def _buckets(row: str) -> dict[str, str]:
    """Return SQL for the bucket of each span that a row of feedback belongs to."""
    return {"slot": slot_of(f"{row}.created_at"), "hour": hour_of(f"{row}.created_at")}


def recount_sql() -> str:
    """Return SQL for the correct content of the table of counters, computed from the rows of feedback."""
    spans = (
        f"SELECT application, '{span}' AS span, ifnull(agent_id, '') AS agent_id, {bucket} AS bucket, {sums_of_rows()} "  # noqa: S608
        "FROM feedback WHERE status = 'approved' AND withdrawn_at IS NULL GROUP BY 1, 3, 4"
        for span, bucket in _buckets("feedback").items()
    )
    return " UNION ALL ".join(spans)


#: What an insertion of counters does where there is one: it adds to it.
_ADDING: Final = (
    "ON CONFLICT (application, span, agent_id, bucket) "
    f"DO UPDATE SET {', '.join(f'{count} = {count} + excluded.{count}' for count in COUNTS)}"
)
#: Between these two, in one transaction, the trigger does not count inserted rows: see the module of counting.
STOP_COUNTING: Final = "INSERT INTO uncounted VALUES (1)"
RESUME_COUNTING: Final = "DELETE FROM uncounted"
#: Adds to one counter: the parameters are application, span, agent, bucket and :data:`COUNTS`.
ADD_COUNTS: Final = f"INSERT INTO counter VALUES ({', '.join('?' * (4 + len(COUNTS)))}) {_ADDING}"  # noqa: S608


def _add(row: str) -> str:
    counted = ", ".join(expression.format(row=row) for expression in _COUNTED)
    values = ", ".join(
        f"({row}.application, '{span}', ifnull({row}.agent_id, ''), {bucket}, {counted})"
        for span, bucket in _buckets(row).items()
    )
    return f"""
        INSERT INTO counter VALUES {values}
        {_ADDING};
    """  # noqa: S608 - made of constants


def _take_away(row: str) -> str:
    return "".join(_take_away_from(span, bucket, row) for span, bucket in _buckets(row).items())


def _take_away_from(span: str, bucket: str, row: str) -> str:
    counted = zip(COUNTS, _COUNTED, strict=True)
    taken = ", ".join(f"{count} = {count} - ({expression.format(row=row)})" for count, expression in counted)
    agent = f"agent_id = ifnull({row}.agent_id, '')"
    where = f"application = {row}.application AND span = '{span}' AND {agent} AND bucket = {bucket}"
    return f"""
        UPDATE counter SET {taken} WHERE {where};
        DELETE FROM counter WHERE {where} AND positive + negative + neutral = 0;
    """  # noqa: S608 - made of constants


def _counting(name: str, when: str, row: str, change: str) -> str:
    """Return SQL that creates a trigger which updates the counters for rows of counted feedback."""
    return f"""
        CREATE TRIGGER {name} AFTER {when} ON feedback
        WHEN {row}.status = 'approved' AND {row}.withdrawn_at IS NULL
        BEGIN {change} END;
    """


_FEEDBACK: Final = """
    CREATE TABLE feedback (
        application TEXT NOT NULL,
        id TEXT NOT NULL,
        session_id TEXT NOT NULL,
        message_id TEXT,
        agent_id TEXT,
        author TEXT,
        rating INTEGER NOT NULL CHECK (rating IN (-1, 0, 1)),
        comment TEXT NOT NULL,
        tags TEXT NOT NULL,             -- a JSON list
        context TEXT NOT NULL,          -- a JSON object
        polarity INTEGER,               -- in millionths
        subjectivity INTEGER,           -- in millionths
        status TEXT NOT NULL CHECK (status IN ('pending', 'approved', 'rejected')),
        decision TEXT,                  -- the rest of the moderation as a JSON object, if there is any
        reply TEXT,
        created_at INTEGER NOT NULL,    -- times are microseconds since 1970-01-01 UTC
        updated_at INTEGER NOT NULL,
        withdrawn_at INTEGER,
        version INTEGER NOT NULL,
        revisions TEXT,                 -- a JSON list, if there are any
        idempotency_key TEXT,
        fingerprint TEXT NOT NULL,
        vote INTEGER NOT NULL CHECK (vote IN (0, 1)),
        later_keys TEXT,                -- a JSON list of pairs, if there are any
        PRIMARY KEY (application, id)
    ) STRICT, WITHOUT ROWID;

    CREATE UNIQUE INDEX feedback_key ON feedback (application, session_id, idempotency_key)
        WHERE idempotency_key IS NOT NULL;
    CREATE UNIQUE INDEX feedback_vote ON feedback (application, session_id, ifnull(message_id, ''), author)
        WHERE vote = 1 AND author IS NOT NULL;

    CREATE INDEX feedback_time ON feedback (application, created_at, id);
    CREATE INDEX feedback_session ON feedback (application, session_id, created_at, id);
    CREATE INDEX feedback_agent ON feedback (application, agent_id, created_at, id);
    CREATE INDEX feedback_author ON feedback (application, author, created_at, id) WHERE author IS NOT NULL;
    CREATE INDEX feedback_waiting ON feedback (application, created_at, id) WHERE status = 'pending';
"""

_SESSIONS: Final = """
    CREATE TABLE session_metadata (
        application TEXT NOT NULL,
        session_id TEXT NOT NULL,
        name TEXT NOT NULL,
        value TEXT NOT NULL,            -- JSON
        PRIMARY KEY (application, session_id, name)
    ) STRICT, WITHOUT ROWID;
"""

_OUTBOX: Final = """
    -- Every submission writes here, so there is no second index: whoever lists events sorts those that still wait, and
    -- where somebody fans them out these are few.
    CREATE TABLE event (
        application TEXT NOT NULL,
        feedback_id TEXT NOT NULL,
        version INTEGER NOT NULL,
        id TEXT NOT NULL,
        type TEXT NOT NULL,
        occurred_at INTEGER NOT NULL,
        PRIMARY KEY (application, feedback_id, version)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE delivery (
        id TEXT PRIMARY KEY,
        event_id TEXT NOT NULL,
        type TEXT NOT NULL,
        application TEXT NOT NULL,
        feedback_id TEXT NOT NULL,
        version INTEGER NOT NULL,
        occurred_at INTEGER NOT NULL,
        channel TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
        attempts INTEGER NOT NULL,
        due_at INTEGER NOT NULL,
        leased_until INTEGER,
        error TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE INDEX delivery_due ON delivery (state, due_at, id);
    CREATE INDEX delivery_feedback ON delivery (application, feedback_id);

    CREATE TRIGGER feedback_forgotten AFTER DELETE ON feedback
    BEGIN
        DELETE FROM event WHERE application = OLD.application AND feedback_id = OLD.id;
        DELETE FROM delivery WHERE application = OLD.application AND feedback_id = OLD.id;
    END;
"""

_COUNTERS: Final = (
    _counter()
    + _counting("feedback_counted", "INSERT", "NEW", _add("NEW"))
    + _counting("feedback_uncounted", "DELETE", "OLD", _take_away("OLD"))
    + _counting("feedback_uncounted_before_change", "UPDATE", "OLD", _take_away("OLD"))
    + _counting("feedback_counted_after_change", "UPDATE", "NEW", _add("NEW"))
)

_CHANGES: Final = """
    -- Only of what was changed, so that a submission writes nothing here.
    CREATE INDEX feedback_changed ON feedback (application, updated_at, id) WHERE version > 1;
"""

_KEYS: Final = """
    CREATE TABLE api_key (
        id TEXT PRIMARY KEY,
        application TEXT NOT NULL,
        scopes TEXT NOT NULL,           -- a JSON list
        name TEXT NOT NULL,
        digest TEXT NOT NULL,           -- of the whole key, SHA-256 in hexadecimal
        created_at INTEGER NOT NULL,
        revoked_at INTEGER
    ) STRICT, WITHOUT ROWID;
"""

_PLANNING: Final = """
    -- SQLite chooses indexes by how many rows a value has on average. Left to guess, it reads all of an application to
    -- find one session. These say what a large file looks like: rows, then rows for each further column of the index.
    ANALYZE api_key;
    INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
        ('feedback', 'feedback', '1000000 1000000 1'),
        ('feedback', 'feedback_key', '500000 500000 10 1'),
        ('feedback', 'feedback_vote', '100000 100000 10 2 1'),
        ('feedback', 'feedback_time', '1000000 1000000 1 1'),
        ('feedback', 'feedback_session', '1000000 1000000 10 1 1'),
        ('feedback', 'feedback_agent', '1000000 1000000 100000 1 1'),
        ('feedback', 'feedback_author', '500000 500000 10 1 1'),
        ('feedback', 'feedback_waiting', '1000 1000 1 1'),
        ('feedback', 'feedback_changed', '10000 10000 1 1');
    ANALYZE sqlite_schema;
"""

_DELIVERIES: Final = """
    -- A relay takes events a few hundred at a time, and before there was one they could wait in any number.
    CREATE INDEX event_time ON event (occurred_at, feedback_id, version);

    ALTER TABLE delivery ADD COLUMN attempts_before INTEGER NOT NULL DEFAULT 0;
    UPDATE delivery SET id = event_id || ':' || channel;
    DROP INDEX delivery_due;
    CREATE INDEX delivery_channel ON delivery (channel, state, due_at, id);
"""

_ALERTS: Final = """
    -- An alert's events wait in the table of events, with its id as their feedback_id.
    CREATE TABLE alert (
        application TEXT NOT NULL,
        id TEXT NOT NULL,
        rule TEXT NOT NULL,
        kind TEXT NOT NULL,
        subject_by TEXT NOT NULL,
        subject TEXT NOT NULL,
        message TEXT NOT NULL,
        figures TEXT NOT NULL,          -- a JSON object
        feedback_ids TEXT NOT NULL,     -- a JSON list
        began_at INTEGER NOT NULL,
        raised_at INTEGER NOT NULL,
        resolved_at INTEGER,
        version INTEGER NOT NULL,
        PRIMARY KEY (application, id)
    ) STRICT, WITHOUT ROWID;

    CREATE INDEX alert_subject ON alert (application, rule, subject_by, subject, raised_at, id);
    CREATE INDEX alert_rule ON alert (application, rule, raised_at, id);
    CREATE INDEX alert_time ON alert (application, raised_at, id);
    CREATE INDEX alert_standing ON alert (application, raised_at, id) WHERE resolved_at IS NULL;
"""

_DOCUMENTS: Final = """
    CREATE TABLE document (
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        value TEXT NOT NULL,            -- a JSON object
        version INTEGER NOT NULL,
        PRIMARY KEY (kind, name)
    ) STRICT, WITHOUT ROWID;
"""

_PLANNING_DELIVERIES: Final = """
    INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
        ('event', 'event', '10000 10000 1 1'),
        ('event', 'event_time', '10000 1 1 1 1'),
        ('delivery', 'delivery', '1000000 1'),
        ('delivery', 'delivery_channel', '1000000 300000 100000 1 1'),
        ('delivery', 'delivery_feedback', '1000000 1000000 2 1'),
        ('alert', 'alert', '10000 10000 1'),
        ('alert', 'alert_subject', '10000 10000 2000 1000 10 1 1'),
        ('alert', 'alert_rule', '10000 10000 2000 1 1'),
        ('alert', 'alert_time', '10000 10000 1 1'),
        ('alert', 'alert_standing', '100 100 1 1'),
        ('document', 'document', '100 50 1');
    ANALYZE sqlite_schema;
"""

_CONVERSATIONS: Final = """
    CREATE TABLE agent (
        application TEXT NOT NULL,
        session_id TEXT NOT NULL,
        agent_id TEXT NOT NULL,
        value TEXT NOT NULL,            -- a JSON object
        PRIMARY KEY (application, session_id, agent_id)
    ) STRICT, WITHOUT ROWID;

    -- With row ids, as messages are long: a tree of keys alone stays small.
    CREATE TABLE message (
        application TEXT NOT NULL,
        session_id TEXT NOT NULL,
        agent_id TEXT NOT NULL,
        number INTEGER NOT NULL,
        value TEXT NOT NULL,            -- a JSON object
        PRIMARY KEY (application, session_id, agent_id, number)
    ) STRICT;

    INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
        ('agent', 'agent', '100000 100000 2 1'),
        ('message', 'sqlite_autoindex_message_1', '1000000 1000000 50 50 1');
    ANALYZE sqlite_schema;
"""

_AUTHORS_AND_AGENTS: Final = """
    -- An idempotency key belongs to its author; feedback without one has keys of its own. No author is the empty text.
    -- The author comes last, so that a process of the version before still finds keys by this index.
    DROP INDEX feedback_key;
    CREATE UNIQUE INDEX feedback_key ON feedback (application, session_id, idempotency_key, ifnull(author, ''))
        WHERE idempotency_key IS NOT NULL;
    DELETE FROM sqlite_stat1 WHERE idx = 'feedback_key';
    INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('feedback', 'feedback_key', '500000 500000 10 1 1');
    ANALYZE sqlite_schema;

    -- A key that is limited to agents has its scopes in the second column, and an empty list in the old one: a process
    -- of the version before, which knows of no agents, lets it do nothing.
    ALTER TABLE api_key ADD COLUMN agents TEXT;         -- a JSON list, if it is limited
    ALTER TABLE api_key ADD COLUMN agent_scopes TEXT;   -- a JSON list, if it is limited
"""

#: Condition for deliveries that are sent in order: pending ones about the subject of ``{row}`` to its channel. The
#: state is a literal: otherwise SQLite does not use the partial index.
_LANE: Final = """
    application = {row}.application AND feedback_id = {row}.feedback_id AND channel = {row}.channel
    AND state = 'pending' AND (type GLOB 'alert.*') = ({row}.type GLOB 'alert.*')
"""
_LANE_OF_NEW: Final = _LANE.format(row="NEW")
_LANE_OF_OLD: Final = _LANE.format(row="OLD")


def _delivery_trigger(name: str, when: str, condition: str, change: str) -> str:
    return f"""
        CREATE TRIGGER {name} AFTER {when} ON delivery WHEN {condition}
        BEGIN {change} END;
    """


_MARK_ALL_LATE: Final = """
    UPDATE delivery SET late = 1 WHERE state = 'pending' AND version > 1 AND EXISTS (
        SELECT 1 FROM delivery AS earlier
        WHERE earlier.application = delivery.application AND earlier.feedback_id = delivery.feedback_id
            AND earlier.channel = delivery.channel AND earlier.state = 'pending'
            AND earlier.version < delivery.version
            AND (earlier.type GLOB 'alert.*') = (delivery.type GLOB 'alert.*')
    );
"""
#: A delivery became pending: it may be late, and later ones of the same subject become late.
_MARK_LATE: Final = f"""
    UPDATE delivery SET late = 1
        WHERE id = NEW.id AND EXISTS (SELECT 1 FROM delivery WHERE {_LANE_OF_NEW} AND version < NEW.version);
    UPDATE delivery SET late = 1 WHERE {_LANE_OF_NEW} AND version > NEW.version AND late = 0;
"""  # noqa: S608 - made of constants
#: A delivery is no longer pending: those that are now the first are no longer late. Restored feedback may have several
#: of one version.
_UNMARK_NEXT: Final = f"""
    UPDATE delivery SET late = 0
        WHERE {_LANE_OF_OLD} AND late = 1 AND version = (SELECT min(version) FROM delivery WHERE {_LANE_OF_OLD});
"""  # noqa: S608 - made of constants
_UNMARK_ENDED: Final = "UPDATE delivery SET late = 0 WHERE id = OLD.id AND late = 1;"

_ERASURES: Final = """
    -- The ids of alerts are not those of feedback, and where they are equal both have their events.
    DROP TRIGGER feedback_forgotten;
    CREATE TABLE event_of_any (
        application TEXT NOT NULL,
        feedback_id TEXT NOT NULL,
        version INTEGER NOT NULL,
        about_alert INTEGER NOT NULL DEFAULT 0,
        id TEXT NOT NULL,
        type TEXT NOT NULL,
        occurred_at INTEGER NOT NULL,
        before TEXT,                    -- what it was before a change, as a JSON list
        PRIMARY KEY (application, feedback_id, version, about_alert)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO event_of_any (application, feedback_id, version, id, type, occurred_at, about_alert)
        SELECT application, feedback_id, version, id, type, occurred_at, type GLOB 'alert.*' FROM event;
    DROP TABLE event;
    ALTER TABLE event_of_any RENAME TO event;
    CREATE INDEX event_time ON event (occurred_at, feedback_id, version);

    -- Where deliveries are no longer stored, the channels that know of feedback.
    CREATE TABLE told (
        application TEXT NOT NULL,
        feedback_id TEXT NOT NULL,
        channel TEXT NOT NULL,
        PRIMARY KEY (application, feedback_id, channel)
    ) STRICT, WITHOUT ROWID;

    ALTER TABLE delivery ADD COLUMN session_id TEXT;    -- where it notifies of an erasure
    ALTER TABLE delivery ADD COLUMN awaits TEXT;        -- the claim that it waits for
    ALTER TABLE delivery ADD COLUMN certain INTEGER NOT NULL DEFAULT 1;
    -- Whether an earlier one about the same subject to the same channel is pending. Triggers keep it, so that it also
    -- holds for what a process of the version before does.
    ALTER TABLE delivery ADD COLUMN late INTEGER NOT NULL DEFAULT 0;
    DROP INDEX delivery_channel;
    CREATE INDEX delivery_channel ON delivery (channel, state, late, due_at, id);
    CREATE INDEX delivery_order ON delivery (application, feedback_id, channel, version) WHERE state = 'pending';
"""

_LATE_DELIVERIES: Final = (
    _MARK_ALL_LATE
    + _delivery_trigger("delivery_made", "INSERT", "NEW.state = 'pending'", _MARK_LATE)
    + _delivery_trigger(
        "delivery_revived", "UPDATE OF state", "OLD.state <> 'pending' AND NEW.state = 'pending'", _MARK_LATE
    )
    + _delivery_trigger(
        "delivery_ended",
        "UPDATE OF state",
        "OLD.state = 'pending' AND NEW.state <> 'pending'",
        _UNMARK_ENDED + _UNMARK_NEXT,
    )
    + _delivery_trigger("delivery_gone", "DELETE", "OLD.state = 'pending'", _UNMARK_NEXT)
)

_LIST_IN_ALERT: Final = """
    INSERT INTO alert_feedback
        SELECT DISTINCT NEW.application, listed.value, NEW.id FROM json_each(NEW.feedback_ids) AS listed;
"""
_UNLIST_IN_ALERT: Final = """
    DELETE FROM alert_feedback
        WHERE application = OLD.application AND alert_id = OLD.id
        AND feedback_id IN (SELECT listed.value FROM json_each(OLD.feedback_ids) AS listed);
"""
_ALERTED: Final = f"""
    -- By what an erasure finds the alerts about it: the feedback that each lists, which triggers keep, and its session.
    CREATE TABLE alert_feedback (
        application TEXT NOT NULL,
        feedback_id TEXT NOT NULL,
        alert_id TEXT NOT NULL,
        PRIMARY KEY (application, feedback_id, alert_id)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO alert_feedback
        SELECT DISTINCT alert.application, listed.value, alert.id
        FROM alert, json_each(alert.feedback_ids) AS listed;
    CREATE TRIGGER alert_listed AFTER INSERT ON alert WHEN NEW.feedback_ids <> '[]'
    BEGIN {_LIST_IN_ALERT} END;
    CREATE TRIGGER alert_relisted AFTER UPDATE OF feedback_ids ON alert WHEN OLD.feedback_ids <> NEW.feedback_ids
    BEGIN {_UNLIST_IN_ALERT} {_LIST_IN_ALERT} END;
    CREATE TRIGGER alert_unlisted AFTER DELETE ON alert WHEN OLD.feedback_ids <> '[]'
    BEGIN {_UNLIST_IN_ALERT} END;
    CREATE INDEX alert_session ON alert (application, subject) WHERE subject_by = 'session';
"""  # noqa: S608 - made of constants

_FORGETTING: Final = """
    CREATE TRIGGER feedback_forgotten AFTER DELETE ON feedback
    BEGIN
        DELETE FROM event
            WHERE application = OLD.application AND feedback_id = OLD.id AND type NOT GLOB 'alert.*';
        DELETE FROM delivery
            WHERE application = OLD.application AND feedback_id = OLD.id
            AND type NOT GLOB 'alert.*' AND type <> 'feedback.erased';
        DELETE FROM told WHERE application = OLD.application AND feedback_id = OLD.id;
    END;

    DELETE FROM sqlite_stat1 WHERE idx = 'delivery_channel';
    INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
        ('event', 'event', '10000 10000 1 1 1'),
        ('event', 'event_time', '10000 1 1 1 1 1'),
        ('delivery', 'delivery_channel', '1000000 300000 100000 100000 1 1'),
        ('delivery', 'delivery_order', '100000 100000 2 1 1 1'),
        ('told', 'told', '1000000 1000000 2 1'),
        ('alert', 'alert_session', '1000 1000 10 1'),
        ('alert_feedback', 'alert_feedback', '10000 10000 2 1');
    ANALYZE sqlite_schema;
"""

#: What a comment must be to be counted by its terms.
_HAS_TERMS: Final = """
    {row}.status = 'approved' AND {row}.withdrawn_at IS NULL AND {row}.rating <> 0 AND {row}.comment <> ''
    AND {row}.created_at < (SELECT until FROM term_counts WHERE application = {row}.application)
"""


def _correcting(name: str, when: str, row: str, sign: int, *, unless: str = "FALSE") -> str:
    """A trigger that stores a correction where the record of terms counts a row, or should."""
    return f"""
        CREATE TRIGGER {name} AFTER {when} ON feedback WHEN {_HAS_TERMS.format(row=row)} AND NOT ({unless})
        BEGIN
            INSERT INTO term_correction (application, sign, rating, comment, polarity)
                VALUES ({row}.application, {sign}, {row}.rating, {row}.comment, {row}.polarity);
        END;
    """  # noqa: S608 - made of constants


_SAME_TERMS: Final = """
    OLD.rating = NEW.rating AND OLD.comment = NEW.comment AND OLD.polarity IS NEW.polarity AND OLD.status = NEW.status
    AND (OLD.withdrawn_at IS NULL) = (NEW.withdrawn_at IS NULL) AND OLD.created_at = NEW.created_at
"""
_TERMS: Final = (
    """
    -- How many comments have each term: one record for each application. See the module of terms.
    CREATE TABLE term_counts (
        application TEXT PRIMARY KEY,
        generation INTEGER NOT NULL,
        tokenizer INTEGER NOT NULL,
        until INTEGER NOT NULL,         -- counts feedback that was created before this
        counts BLOB NOT NULL            -- compressed JSON
    ) STRICT;
    CREATE TABLE term_correction (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        application TEXT NOT NULL,
        sign INTEGER NOT NULL CHECK (sign IN (-1, 1)),
        rating INTEGER NOT NULL,
        comment TEXT NOT NULL,
        polarity INTEGER
    ) STRICT;
    CREATE INDEX term_correction_application ON term_correction (application, number);
    """
    + _correcting("terms_added", "INSERT", "NEW", 1)
    + _correcting("terms_removed", "DELETE", "OLD", -1)
    + _correcting("terms_removed_before_change", "UPDATE", "OLD", -1, unless=_SAME_TERMS)
    + _correcting("terms_added_after_change", "UPDATE", "NEW", 1, unless=_SAME_TERMS)
)

#: Only dead deliveries have a cause, so that a delivery that arrives writes nothing to that index. One that waits is
#: not in the list of its application: that of its channel shows the application, and few wait.
_ATTEMPTS: Final = """
    ALTER TABLE delivery ADD COLUMN history TEXT;                   -- the latest attempts, as a JSON list
    ALTER TABLE delivery ADD COLUMN cause TEXT NOT NULL DEFAULT ''; -- why it is dead
    UPDATE delivery SET cause = substr(error, 1, 100) WHERE state = 'dead';
    DROP INDEX delivery_channel;
    CREATE INDEX delivery_channel ON delivery (channel, state, late, due_at, id, application, type);
    CREATE INDEX delivery_list ON delivery (application, channel, state, due_at, id, type) WHERE state <> 'pending';
    CREATE INDEX delivery_dead ON delivery (application, channel, cause, due_at, id) WHERE state = 'dead';
    DELETE FROM sqlite_stat1 WHERE idx = 'delivery_channel';
    INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
        ('delivery', 'delivery_channel', '1000000 300000 100000 100000 1 1 1 1'),
        ('delivery', 'delivery_list', '1000000 1000000 300000 100000 1 1 1'),
        ('delivery', 'delivery_dead', '1000 1000 300 100 1 1');
    ANALYZE sqlite_schema;
"""
#: Removes the segments, complete or not, whose range has the time of a row.
_UNCOVER: Final = """
    DELETE FROM comment_segment
        WHERE application = {row}.application AND until > {row}.created_at AND since <= {row}.created_at;
"""
_COMMENT_INDEX: Final = f"""
    -- The words of comments, for text search. See the module of the index.
    CREATE TABLE comment_segment (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        application TEXT NOT NULL,
        since INTEGER NOT NULL,
        until INTEGER NOT NULL,
        version INTEGER NOT NULL,
        entries INTEGER NOT NULL,
        begun INTEGER                   -- in seconds since 1970, while it is being built
    ) STRICT;
    CREATE INDEX comment_segment_time ON comment_segment (application, until, since);
    -- Its place is 256 times the number of the segment, plus the number of the bucket.
    CREATE TABLE comment_words (
        place INTEGER PRIMARY KEY,
        content BLOB NOT NULL
    ) STRICT;
    CREATE TRIGGER comment_segment_gone AFTER DELETE ON comment_segment
    BEGIN DELETE FROM comment_words WHERE place BETWEEN OLD.number * 256 AND OLD.number * 256 + 255; END;

    CREATE TRIGGER comment_added AFTER INSERT ON feedback
        WHEN NEW.comment <> ''
        AND NEW.created_at < (SELECT max(until) FROM comment_segment WHERE application = NEW.application)
    BEGIN {_UNCOVER.format(row="NEW")} END;
    CREATE TRIGGER comment_changed AFTER UPDATE OF comment, tags ON feedback
        WHEN OLD.comment <> NEW.comment OR OLD.tags <> NEW.tags AND OLD.comment <> ''
    BEGIN {_UNCOVER.format(row="OLD")} END;
    CREATE TRIGGER comment_removed AFTER DELETE ON feedback WHEN OLD.comment <> ''
    BEGIN {_UNCOVER.format(row="OLD")} END;

    INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
        ('comment_segment', 'comment_segment_time', '250 250 1 1'),
        ('comment_words', NULL, '30000');
    ANALYZE sqlite_schema;
"""  # noqa: S608 - made of constants

_COUNTING_TOGETHER: Final = f"""
    -- Has a row only within a transaction that inserts many entries: it adds their counts itself, a bucket at a time.
    -- All other entries, also those of a process of the version before, are counted by the trigger.
    CREATE TABLE uncounted (
        one INTEGER PRIMARY KEY CHECK (one = 1)
    ) STRICT;
    DROP TRIGGER IF EXISTS feedback_counted;
    CREATE TRIGGER feedback_counted AFTER INSERT ON feedback
    WHEN NEW.status = 'approved' AND NEW.withdrawn_at IS NULL AND NOT EXISTS (SELECT 1 FROM uncounted)
    BEGIN {_add("NEW")} END;
"""  # noqa: S608 - made of constants

_EXTRAS: Final = """
    -- JSON text of the program that gave the feedback, if there is any. The last column, as others are read without it.
    ALTER TABLE feedback ADD COLUMN extras TEXT;
"""

MIGRATIONS: Final = (
    _FEEDBACK + _SESSIONS + _OUTBOX + _COUNTERS,
    _CHANGES + _KEYS + _PLANNING,
    _DELIVERIES + _ALERTS + _DOCUMENTS + _PLANNING_DELIVERIES,
    _CONVERSATIONS,
    _AUTHORS_AND_AGENTS,
    _ERASURES + _LATE_DELIVERIES + _ALERTED + _FORGETTING,
    _TERMS,
    _ATTEMPTS,
    _COMMENT_INDEX,
    _COUNTING_TOGETHER,
    _EXTRAS,
)
