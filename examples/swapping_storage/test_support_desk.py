"""Tests of the desk, independent of the storage."""

import pytest

import harken


def test_a_rating_is_stored(desk):
    desk.rate("ticket-1", "down", "I waited for an hour", agent_id="ann", author="zoë")
    [complaint] = desk.complaints()
    assert (complaint.session_id, complaint.comment, complaint.author) == ("ticket-1", "I waited for an hour", "zoë")


def test_complaints_are_sorted_newest_first(desk, harken_clock):
    for number in range(5):
        desk.rate(f"ticket-{number}", "down", "Slow")
        harken_clock.advance(minutes=1)
    assert [one.session_id for one in desk.complaints(limit=2)] == ["ticket-4", "ticket-3"]


def test_only_negative_feedback_is_a_complaint(desk):
    desk.rate("ticket-1", "up")
    desk.rate("ticket-1", None, "It was all right")
    assert desk.complaints() == []


def test_complaints_are_filtered_by_agent(desk):
    desk.rate("ticket-1", "down", "Slow", agent_id="ann")
    desk.rate("ticket-2", "down", "Rude", agent_id="bob")
    assert [one.comment for one in desk.complaints(agent_id="bob")] == ["Rude"]


def test_a_thumbs_down_without_a_comment_is_rejected(desk):
    with pytest.raises(harken.FeedbackRejected):
        desk.rate("ticket-1", "down")
    assert desk.complaints() == []


def test_a_click_counts_once(desk):
    for _ in range(3):
        desk.rate("ticket-1", "up", agent_id="ann", idempotency_key="click-1")
    assert desk.board() == [("ann", 1, 100.0)]


def test_a_refund_gets_an_automatic_reply(desk):
    assert desk.rate("ticket-1", "down", "Where is my money?", tags=["refund"]).startswith("Sorry.")
    assert desk.rate("ticket-2", "down", "Slow") is None


def test_the_team_replies(desk):
    desk.rate("ticket-1", "down", "Slow")
    complaint = desk.reply(desk.complaints()[0], "We have two people more now")
    assert desk.complaints() == [complaint]
    assert (complaint.reply, complaint.version) == ("We have two people more now", 2)


def test_the_board_is_sorted_by_satisfaction(desk):
    for rating, agent in [("up", "ann"), ("down", "ann"), ("up", "bob"), ("up", "bob"), (None, "bob")]:
        desk.rate("ticket-1", rating, "Well", agent_id=agent)
    assert desk.board() == [("bob", 3, 100.0), ("ann", 2, 50.0)]


def test_the_busiest_hour(desk, harken_clock):
    desk.rate("ticket-1", "up")
    harken_clock.advance(days=3, hours=2)
    desk.rate("ticket-2", "up")
    desk.rate("ticket-3", "up")
    assert desk.busiest_hour() == 14


def test_notes_of_a_ticket_are_merged(desk):
    desk.note("ticket-1", topic="refund", state="open")
    assert desk.note("ticket-1", state="closed") == {"state": "closed", "topic": "refund"}
    assert desk.note("ticket-2") == {}


def test_the_team_is_notified_of_negative_feedback(desk, inbox):
    desk.rate("ticket-1", "up", "Thanks")
    desk.rate("ticket-2", "down", "Slow")
    desk.hk.relay.run_due()
    assert inbox.comments == ["Slow"]


def test_three_complaints_in_a_row_raise_an_alert(desk, harken_clock):
    for number in range(3):
        desk.rate(f"ticket-{number}", "down", "Slow", agent_id="ann")
        harken_clock.advance(minutes=1)
    desk.hk.relay.run_due()
    assert desk.open_alerts() == ["3 thumbs-down ratings in a row for agent ann, the last at 2026-01-01 12:02 UTC"]


def test_forgetting_a_customer_erases_their_feedback(desk, inbox):
    desk.rate("ticket-1", "down", "Slow", author="zoë", agent_id="ann")
    desk.rate("ticket-2", "up", author="max", agent_id="ann")
    assert desk.forget("zoë") == 1
    desk.hk.relay.run_due()
    assert (desk.complaints(), desk.board(), inbox.comments) == ([], [("ann", 1, 100.0)], [])
