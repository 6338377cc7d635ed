"""A Streamlit chat that stores thumbs in Harken: ``streamlit run streamlit_chat.py``."""

from uuid import uuid4

import streamlit as st

import harken


@st.cache_resource  # one connection for the process; the script itself runs on every click
def connect() -> harken.Harken:
    return harken.connect("sqlite:///feedback.db", reason_when_down=False)


def rate(message: str) -> None:
    thumb, reason = st.session_state[f"thumb {message}"], st.session_state.get(f"reason {message}", "")
    if thumb is None:  # pressed again: withdraw the vote
        hk.collection.withdraw_vote(hk.application, session, message, session)
        return
    try:
        hk.collection.set_vote(harken.Target(session, message), session, ("down", "up")[thumb], reason)
    except harken.FeedbackRejected as error:
        st.error(error)


hk = connect()
session = st.session_state.setdefault("session", uuid4().hex)
texts = st.session_state.setdefault("texts", [])
if question := st.chat_input("Ask me"):
    texts += [question, f"You said: {question}"]  # call your model here
for number, text in enumerate(texts):
    with st.chat_message("assistant" if number % 2 else "user"):
        st.write(text)
        if number % 2 and st.feedback(key=f"thumb {number}", on_change=rate, args=(str(number),)) == 0:
            st.text_input("What was wrong?", key=f"reason {number}", on_change=rate, args=(str(number),))
