"""The port for responders, which write replies; a language model, for example."""

from __future__ import annotations

from collections.abc import Callable

from harken.domain.feedback import Feedback

#: Returns the reply to the submitter of this feedback, of at most 1,000 characters; ``None`` for no reply. Several
#: background threads call it at the same time, and it may block. If it raises an error, that is logged and there is no
#: reply.
Responder = Callable[[Feedback], str | None]
