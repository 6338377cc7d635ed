"""The settings that minting needs, of those of the HTTP server."""

from __future__ import annotations

import os
from pathlib import Path

from attrs import field, frozen

from harken.configuration.settings import check_types, load


@frozen(kw_only=True)
class TokenSettings:
    """The secrets that the server verifies tokens and links with.

    Attributes:
        token_secrets: 32 bytes or more each; the first one signs.
    """

    token_secrets: tuple[str, ...] = field(default=(), repr=False)

    def __attrs_post_init__(self) -> None:
        check_types(self)

    @classmethod
    def load(cls) -> TokenSettings:
        """Load ``HARKEN_SERVER_TOKEN_SECRETS``, or ``token_secrets`` in ``[server]`` of ``harken.toml``.

        Raises:
            ConfigurationError: the file cannot be read, or the value is not a list of strings.
        """
        return load(cls, os.environ, Path.cwd(), "server", partial=True)
