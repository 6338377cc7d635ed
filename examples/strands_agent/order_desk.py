"""A Strands agent whose user gives feedback in the conversation and with a button. Its model is a script."""

from scripted_model import ScriptedModel
from strands import Agent

import harken
from harken_adapters.hosts.strands import HarkenSessionManager

SCRIPT = [
    "Your order arrives on Tuesday.",
    ("record_feedback", {"rating": "down"}),  # Rejected: a thumbs-down needs a comment or a reason tag.
    "I am sorry. What was wrong?",
    ("record_feedback", {"rating": "down", "comment": "It came on Monday"}),
    "Thank you, I have noted that.",
    "You can return it within 30 days.",
]
USER = ["When does my order arrive?", "That was wrong!", "It came on Monday", "Can I return it?"]


def order_desk(hk: harken.Harken, script: list) -> tuple[Agent, HarkenSessionManager]:
    """Create the agent of the session, as a new process would. ``script`` is for the scripted model only."""
    session_manager = HarkenSessionManager(hk, "session-1")
    agent = Agent(
        model=ScriptedModel(script),
        agent_id="order-desk",
        session_manager=session_manager,
        tools=[session_manager.feedback.tool()],
        callback_handler=None,
    )
    return agent, session_manager


def main() -> None:
    with harken.connect("memory://") as hk:
        agent, session_manager = order_desk(hk, SCRIPT)
        for message in USER:
            print(f"  user: {message}")
            print(f" agent: {str(agent(message)).strip()}")
        # A button on the page: feedback on the latest answer.
        session_manager.feedback.submit("up", "Clear")

        agent, _ = order_desk(hk, script=[])
        print(f"A new process restores {len(agent.messages)} messages. Feedback on them:")
        texts = {message["tracking_id"]: message["content"][0].get("text") for message in agent.messages}
        for feedback in hk.export(session_id="session-1"):
            print(f"{feedback.rating.value:>6}: {texts[feedback.message_id]} ({feedback.comment})")


if __name__ == "__main__":
    main()
