"""Who answers people: a model, say."""

from __future__ import annotations

from collections.abc import Callable

from harken.domain.feedback import Feedback

#: What to answer to the person who gave this feedback, in at most 1,000 characters; ``None`` for no answer. It is asked
#: in a background thread, by several at once, and may take its time. What it raises is logged, and nobody is answered.
Responder = Callable[[Feedback], str | None]
