"""A state machine that writes and erases conversations in a few sessions."""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter

from hypothesis import strategies as st
from hypothesis.stateful import rule

from harken.ports.conversations import JsonObject
from harken.testing import strategies as hst
from harken.testing.comparison import ComparingMachine

_AGENTS = st.sampled_from(hst.AGENTS)
_APPLICATIONS = st.sampled_from(hst.APPLICATIONS)
_SESSIONS = st.sampled_from(hst.SESSIONS)
#: Few, so that operations meet.
_NUMBERS = st.integers(0, 4)
#: Often the same, or with the same message.
_MESSAGES = st.sampled_from([{"message": "a"}, {"message": "a", "metrics": 1}, {"message": "b"}]) | hst.metadata()


class ConversationMachine(ComparingMachine):
    """Any sequence of operations on conversations."""

    @rule(
        application=_APPLICATIONS,
        session_id=_SESSIONS,
        agent_id=_AGENTS,
        value=hst.metadata(),
        replace=st.booleans(),
    )
    def put_agent(self, application: str, session_id: str, agent_id: str, value: JsonObject, *, replace: bool) -> None:
        agent = (application, session_id, agent_id)
        self._both(lambda storage: storage.conversations.put_agent(*agent, value, replace=replace))
        self._both(lambda storage: storage.conversations.agent(application, session_id, agent_id))

    @rule(application=_APPLICATIONS, session_id=_SESSIONS, agent_id=_AGENTS, number=_NUMBERS, message=_MESSAGES)
    def append(self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> None:
        place = (application, session_id, agent_id, number)
        self._both(lambda storage: storage.conversations.append(*place, message))

    @rule(
        application=_APPLICATIONS,
        session_id=_SESSIONS,
        agent_id=_AGENTS,
        messages=st.dictionaries(_NUMBERS, _MESSAGES, min_size=1, max_size=3),
        is_beginning=st.booleans(),
    )
    def append_many(
        self,
        application: str,
        session_id: str,
        agent_id: str,
        messages: Mapping[int, JsonObject],
        *,
        is_beginning: bool,
    ) -> None:
        agent, in_order = (application, session_id, agent_id), sorted(messages.items(), key=itemgetter(0))
        after = -1 if is_beginning else None
        self._both(lambda storage: sorted(storage.conversations.append_many(*agent, in_order, after=after)))
        self._both(lambda storage: storage.conversations.messages(*agent, limit=9))

    @rule(application=_APPLICATIONS, session_id=_SESSIONS, agent_id=_AGENTS, number=_NUMBERS, message=hst.metadata())
    def replace(self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> None:
        place = (application, session_id, agent_id, number)
        self._both(lambda storage: storage.conversations.replace(*place, message))

    @rule(application=_APPLICATIONS, session_id=_SESSIONS, agent_id=_AGENTS, limit=st.integers(0, 3), after=_NUMBERS)
    def read(self, application: str, session_id: str, agent_id: str, limit: int, after: int) -> None:
        agent = (application, session_id, agent_id)
        self._both(lambda storage: storage.conversations.messages(*agent, limit=limit, after=after - 1))
        self._both(lambda storage: storage.conversations.count(*agent))
        self._both(lambda storage: storage.conversations.agents(application, session_id))
        self._both(lambda storage: storage.conversations.speakers(application, session_id))
        self._both(lambda storage: storage.conversations.count(application, session_id))

    @rule(application=_APPLICATIONS, session_id=_SESSIONS)
    def erase(self, application: str, session_id: str) -> None:
        self._both(lambda storage: storage.conversations.erase(application, session_id))
        self._both(lambda storage: storage.conversations.sessions())
