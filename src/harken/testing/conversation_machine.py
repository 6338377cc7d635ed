"""A state machine that writes and erases conversations in a few sessions."""

from __future__ import annotations

from collections.abc import Sequence
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

    @rule(application=_APPLICATIONS, session_id=_SESSIONS, agent_id=_AGENTS, number=_NUMBERS, message=hst.metadata())
    def append(self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> None:
        place = (application, session_id, agent_id, number)
        self._both(lambda storage: storage.conversations.append(*place, message))

    @rule(
        application=_APPLICATIONS,
        session_id=_SESSIONS,
        agent_id=_AGENTS,
        messages=st.lists(st.tuples(_NUMBERS, hst.metadata()), min_size=1, max_size=3, unique_by=itemgetter(0)),
    )
    def append_many(
        self, application: str, session_id: str, agent_id: str, messages: Sequence[tuple[int, JsonObject]]
    ) -> None:
        agent = (application, session_id, agent_id)
        self._both(lambda storage: sorted(storage.conversations.append_many(*agent, messages)))

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
