"""A Chainlit chat that stores thumbs in Harken: ``chainlit run chainlit_chat.py``."""

import asyncio
from typing import Any

import chainlit as cl
from chainlit.data.base import BaseDataLayer
from chainlit.types import Feedback

import harken

hk = harken.connect("sqlite:///feedback.db", reason_when_down=False)


async def do_nothing(*_: Any, **__: Any) -> None: ...


class Thumbs(BaseDataLayer):
    """A data layer that stores thumbs only."""

    get_user = create_user = create_element = get_element = delete_element = create_step = update_step = do_nothing
    delete_step = get_thread_author = delete_thread = list_threads = get_thread = update_thread = do_nothing
    build_debug_url = get_favorite_steps = close = do_nothing

    async def upsert_feedback(self, feedback: Feedback) -> str:
        target, rating = harken.Target(feedback.threadId, feedback.forId), "up" if feedback.value else "down"
        vote = (target, feedback.threadId, rating, feedback.comment or "")
        return (await asyncio.to_thread(hk.collection.set_vote, *vote)).feedback.id

    async def delete_feedback(self, feedback_id: str) -> bool:
        await asyncio.to_thread(hk.collection.withdraw, hk.application, feedback_id)
        return True


@cl.data_layer
def data_layer() -> Thumbs:
    return Thumbs()


@cl.on_message
async def answer(question: cl.Message) -> None:
    await cl.Message(f"You said: {question.content}").send()  # call your model here
