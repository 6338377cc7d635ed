"""Feedback as session managers take and return it: a dictionary with any names and values.

:mod:`.submissions` converts a dictionary to what is stored, and :mod:`.dictionaries` converts it back. Harken's
fields and the context have what fits into them, as an import of the same dictionary would fill them: so filters and
statistics treat feedback alike, whether it was added or migrated. The values that are not returned equal from there
are also stored verbatim, as extras beside the feedback::

    {"rating": "up", "user.tier": "gold", "seen": datetime(2026, 11, 30)}
    context  {"user_tier": "gold", "seen": "2026-11-30T00:00:00.000000Z"}
    extras   {"values": {"user.tier": "gold", "seen": {"__harken_encoded__": "datetime", ...}},
              "derived": {"user_tier": "gold", "seen": "2026-11-30T00:00:00.000000Z"}}
"""
