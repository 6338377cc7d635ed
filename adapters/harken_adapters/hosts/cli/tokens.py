"""The commands ``mint-token`` and ``mint-link``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from harken import ConfigurationError
from harken.configuration.extras import requires
from harken.configuration.settings import Settings
from harken.domain.instants import parse_duration
from harken_adapters.hosts.cli.options import WrongUsage, cli_context, pairs
from harken_adapters.hosts.cli.output import say

if TYPE_CHECKING:
    from harken_adapters.tokens import InvalidClaims


def _lifetime(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Session = Annotated[str, typer.Option(help="The id of the session.")]
Author = Annotated[str | None, typer.Option(help="The author of the feedback. Default: the id of the session.")]
Agent = Annotated[str | None, typer.Option(help="The agent that the feedback is about.")]
Values = Annotated[
    list[str] | None,
    typer.Option("--context", metavar="NAME=VALUE", help="The context of the feedback, as strings; repeatable."),
]
Lifetime = Annotated[
    timedelta, typer.Option(metavar="DURATION", parser=_lifetime, help="The validity, such as 30m, 12h or 7d.")
]


def mint_token(
    context: typer.Context,
    *,
    session: Session,
    author: Author = None,
    origin: Annotated[
        str | None, typer.Option(help="The only origin whose pages may use it, such as https://shop.example.")
    ] = None,
    agent: Agent = None,
    context_values: Values = None,
    lifetime: Lifetime = "1h",  # type: ignore[assignment] # Typer parses it
) -> None:
    """Mint a session token, and print it.

    With it, a browser can give feedback in one session. The storage is not opened.

    The first of the token_secrets of the HTTP service signs it.
    """
    application, secrets = _signing(context)
    from harken_adapters.tokens import InvalidClaims, SessionTokens  # noqa: PLC0415 - the extra may be missing

    try:
        token = SessionTokens(secrets).mint(
            session_id=session,
            author=author,
            origin=origin,
            agent=agent,
            context=_context(context_values),
            application=application,
            lifetime=lifetime,
        )
    except InvalidClaims as error:
        raise _wrong(error) from None
    say(token)


def mint_link(
    context: typer.Context,
    base: Annotated[str, typer.Argument(metavar="URL", help="Where Harken is served, such as https://example.com.")],
    *,
    session: Session,
    message: Annotated[str | None, typer.Option(help="The message to vote on. Default: the session.")] = None,
    author: Author = None,
    agent: Agent = None,
    context_values: Values = None,
    rating: Annotated[
        Literal["up", "down"] | None, typer.Option(metavar="up|down", help="The rating that the page preselects.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="What the vote is about, for the author.")] = None,
    lang: Annotated[
        str | None,
        typer.Option(help="The language: en, es, de, fr, pt, ar, ja or zh. Default: that of the browser."),
    ] = None,
    lifetime: Lifetime = "30d",  # type: ignore[assignment] # Typer parses it
) -> None:
    """Mint a feedback link for mail or chat, and print it.

    It opens a page with buttons, on which one author votes on one message. Opening it changes nothing.

    The first of the token_secrets of the HTTP service signs it. The storage is not opened.
    """
    application, secrets = _signing(context)
    from harken_adapters.tokens import FeedbackLinks, InvalidClaims  # noqa: PLC0415 - the extra may be missing

    try:
        link = FeedbackLinks(secrets).mint(
            base,
            session_id=session,
            message_id=message,
            author=author,
            agent=agent,
            context=_context(context_values),
            rating=rating,
            label=label,
            lang=lang,
            application=application,
            lifetime=lifetime,
        )
    except InvalidClaims as error:
        raise _wrong(error) from None
    say(link)


def _signing(context: typer.Context) -> tuple[str, Sequence[str]]:
    """The application, and the secrets of the server.

    Raises:
        ConfigurationError: there is no secret, or a setting is invalid.
        MissingExtra: the extra ``tokens`` is not installed.
    """
    with requires("Minting tokens and links", "tokens"):
        from harken_adapters.tokens.settings import TokenSettings  # noqa: PLC0415 - the extra may be missing

    cli = cli_context(context)
    application = Settings.load(os.environ, Path.cwd(), application=cli.application).application
    if secrets := TokenSettings.load().token_secrets:
        return application, secrets
    raise ConfigurationError(
        "There is no secret to sign with; use that of the HTTP service: set token_secrets in [server] of harken.toml, "
        "or HARKEN_SERVER_TOKEN_SECRETS, and restart the service; without it, 'harken serve' accepts only the tokens "
        "of its demo"
    )


def _context(values: Sequence[str] | None) -> dict[str, Any] | None:
    return None if values is None else pairs("--context", values)


def _wrong(error: InvalidClaims) -> WrongUsage:
    return WrongUsage(str(error))
