"""A Gradio chat that stores thumbs in Harken: ``python gradio_chat.py``."""

from typing import Any
from uuid import uuid4

import gradio as gr

import harken

hk = harken.connect("sqlite:///feedback.db", reason_when_down=False)


def answer(question: str, _: list[Any]) -> gr.ChatMessage:
    return gr.ChatMessage(f"You said: {question}", metadata={"id": uuid4().hex})  # call your model here


def rate(history: list[Any], thumb: gr.LikeData, request: gr.Request) -> tuple[str, gr.Textbox]:
    session, message = request.session_hash, history[thumb.index]["metadata"]["id"]
    if thumb.liked == "":  # pressed again: withdraw the vote
        hk.collection.withdraw_vote(hk.application, session, message, session)
    else:
        hk.collection.set_vote(harken.Target(session, message), session, "up" if thumb.liked else "down")
    return message, gr.Textbox(value="", visible=thumb.liked is False)


def explain(message: str, reason: str, request: gr.Request) -> gr.Textbox:
    session = request.session_hash
    try:
        hk.collection.set_vote(harken.Target(session, message), session, "down", reason)
    except harken.FeedbackRejected as error:
        raise gr.Error(str(error)) from error
    return gr.Textbox(visible=False)


with gr.Blocks() as demo:
    chatbot = gr.ChatInterface(answer).chatbot
    rated, reason = gr.State(), gr.Textbox(label="What was wrong?", visible=False, submit_btn=True)
    chatbot.like(rate, chatbot, [rated, reason])
    reason.submit(explain, [rated, reason], reason)

if __name__ == "__main__":
    demo.launch()
