"""The values that can be filtered by."""

from harken import FeedbackQuery
from harken.domain.insight.facets import MOST_VALUES, count_facets, without_facets
from support import a_feedback

ENTRIES = [
    a_feedback("1", agent_id="a", tags=("slow",), context={"tier": "free", "request": "r1", "n": 1}),
    a_feedback("2", agent_id="a", tags=("slow", "rude"), context={"tier": "free", "request": "r2", "n": None}),
    a_feedback("3", agent_id="b", tags=(), context={"tier": "team", "request": "r3", "n": True}),
    a_feedback("4", tags=("rude",)),
]


def test_counts() -> None:
    """Each value has its number of entries, the most frequent first; null does not count."""
    found = count_facets(ENTRIES, FeedbackQuery(), most=5)
    assert found.agents == (("a", 2), ("b", 1))
    assert found.tags == (("rude", 2), ("slow", 2))
    assert found.context["tier"] == (("free", 2), ("team", 1))
    assert found.context["n"] == (("1", 1), ("true", 1))
    assert (found.entries, found.is_complete) == (4, True)
    assert not count_facets(ENTRIES, FeedbackQuery(), most=4).is_complete


def test_a_filter_is_ignored_for_its_own_values() -> None:
    """So that other values can be chosen; the other filters count."""
    found = count_facets(ENTRIES, FeedbackQuery(agent_id="a", context={"tier": "free"}), most=5)
    assert found.agents == (("a", 2),)
    assert found.context["tier"] == (("free", 2),)
    found = count_facets(ENTRIES, FeedbackQuery(tag="slow"), most=5)
    assert found.tags == (("rude", 2), ("slow", 2))
    assert found.agents == (("a", 2),)
    found = count_facets(ENTRIES, FeedbackQuery(context={"tier": "team"}), most=5)
    assert found.context["tier"] == (("free", 2), ("team", 1))
    assert (found.tags, found.agents) == ((), (("b", 1),))


def test_keys_that_identify_entries() -> None:
    """A context key with more than 50 values does not group anything."""
    entries = [
        a_feedback(str(number), context={"request": str(number), "shard": str(number % MOST_VALUES)})
        for number in range(2 * MOST_VALUES)
    ]
    found = count_facets(entries, FeedbackQuery(), most=1000)
    assert found.context.keys() == {"shard"}
    assert len(found.context["shard"]) == MOST_VALUES


def test_too_many_values() -> None:
    """Of many agents, tags and context keys, the most frequent are listed."""
    entries = [
        a_feedback(
            str(number), agent_id=f"agent {number}", tags=(f"tag {number}",), context={f"key {number}": 1, "z": 1}
        )
        for number in range(500)
    ]
    found = count_facets(entries, FeedbackQuery(), most=1000)
    assert (len(found.agents), len(found.tags), len(found.context)) == (200, 200, 50)
    assert found.context["z"] == (("1", 500),)


def test_the_query_for_entries() -> None:
    """It has no filter on values; that on agents is kept if the reader may not see others."""
    query = FeedbackQuery(agent_id="a", tag="x", context={"tier": "free"}, session_id="s")
    assert without_facets(query, keep_agents=False) == FeedbackQuery(session_id="s")
    assert without_facets(query, keep_agents=True) == FeedbackQuery(session_id="s", agent_id="a")
