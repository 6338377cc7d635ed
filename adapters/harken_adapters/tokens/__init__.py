"""Session tokens for browsers, and feedback links for mail and chat. Requires the extra ``tokens``.

No web framework is loaded, so any backend can mint them.
"""

from harken.configuration.extras import requires

with requires("Minting tokens and links", "tokens"):
    from harken_adapters.tokens.feedback_links import FeedbackLink, FeedbackLinks
    from harken_adapters.tokens.session_tokens import SessionToken, SessionTokens
    from harken_adapters.tokens.signing import ExpiredToken, InvalidClaims, InvalidToken

__all__ = [
    "ExpiredToken",
    "FeedbackLink",
    "FeedbackLinks",
    "InvalidClaims",
    "InvalidToken",
    "SessionToken",
    "SessionTokens",
]
