"""A Chainlit chat that stores thumbs in Harken: ``chainlit run chainlit_chat.py``."""

from typing import Any

import chainlit as cl
from chainlit.data.base import BaseDataLayer
from chainlit.types import Feedback

import harken

hk = harken.AsyncHarken(harken.connect("sqlite:///feedback.db", reason_when_down=False))


async def do_nothing(*_: Any, **__: Any) -> None: ...


class Thumbs(BaseDataLayer):
    """A data layer that stores thumbs only."""

    get_user = create_user = create_element = get_element = delete_element = create_step = update_step = do_nothing
    delete_step = get_thread_author = delete_thread = list_threads = get_thread = update_thread = do_nothing
    build_debug_url = get_favorite_steps = close = do_nothing

    async def upsert_feedback(self, feedback: Feedback) -> str:
        session_id, rating = feedback.threadId, "up" if feedback.value else "down"
        receipt = await hk.vote(
            session_id, rating, feedback.comment or "", author=session_id, message_id=feedback.forId
        )
        return receipt.feedback.id

    async def delete_feedback(self, feedback_id: str) -> bool:
        await hk.withdraw(feedback_id)
        return True


@cl.data_layer
def data_layer() -> Thumbs:
    return Thumbs()


@cl.on_message
async def answer(question: cl.Message) -> None:
    await cl.Message(f"You said: {question.content}").send()  # call your model here
