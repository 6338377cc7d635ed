"""Signing people in with OpenID Connect: the authorization code flow with PKCE. Requires the extra ``oidc``.

Only the server talks to the provider. See OpenID Connect Core 1.0, RFC 7636 (PKCE) and RFC 9207 (``iss``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Final

import httpx2
from attrs import frozen
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from harken.domain.instants import EPOCH
from harken.ports.time import Clock
from harken.services.forks import ForkSafeLock
from harken_adapters.hosts.http.guards.browser_sessions import Person
from harken_adapters.hosts.http.settings import ServerSettings, is_secure_url
from harken_adapters.hosts.http.wire.problems import Problem

logger = logging.getLogger(__name__)

#: The timeout of each step of a request to the provider, in seconds.
_TIMEOUT: Final = 5.0
#: For how many seconds the description and the keys of the provider are used, and a failure to get them.
_CACHED_FOR: Final = 3_600.0
_FAILED_FOR: Final = 5.0
#: After how many seconds the keys may be requested again because a token was signed with an unknown one.
_RENEWED_AFTER: Final = 60.0
#: The clocks of the provider and this server may differ by this, in seconds.
_LEEWAY: Final = 60
#: Only signatures with public keys: the client secret must not be usable to forge a token.
_ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "Ed25519",
    "EdDSA",
)
_ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_NAMES: Final = ("name", "preferred_username", "email", "sub")
CALLBACK: Final = "/sign-in/openid/callback"


@frozen
class _Provider:
    """The description of the provider (OpenID Connect Discovery 1.0), and its keys."""

    metadata: Mapping[str, Any]
    keys: KeySet
    loaded_at: float


class OpenIdConnect:
    """A client of the provider in the settings. Its description and keys are cached. Thread-safe.

    Args:
        settings: the settings of the server, with ``oidc_issuer``.
        clock: returns the current time in UTC.
        timer: returns monotonic seconds.
    """

    def __init__(self, settings: ServerSettings, *, clock: Clock, timer: Callable[[], float] = monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._timer = timer
        self._lock = ForkSafeLock()
        self._provider: _Provider | None = None
        self._failed_at: float | None = None

    def authorization_url(self, *, state: str, nonce: str, verifier: str) -> str:
        """The URL of the provider at which people sign in.

        Raises:
            Problem: the provider is not available.
        """
        provider = self._load()
        with self._client(provider) as client:
            endpoint = provider.metadata["authorization_endpoint"]
            url, _ = client.create_authorization_url(endpoint, state=state, nonce=nonce, code_verifier=verifier)
        return str(url)

    def person(self, code: str, *, nonce: str, verifier: str, issuer: str | None = None) -> tuple[Person, list[str]]:
        """The person whom the provider signed in, without groups, and the names of all of their groups.

        Args:
            code: the authorization code.
            nonce: the nonce of the request.
            verifier: the PKCE code verifier of the request.
            issuer: the issuer that the response names, if any.

        Raises:
            Problem: the provider is not available, or its response is invalid.
        """
        if issuer not in (None, self._settings.oidc_issuer):
            raise self._refused("the response names another issuer")
        provider = self._load()
        try:
            with self._client(provider) as client:
                token = client.fetch_token(
                    provider.metadata["token_endpoint"],
                    code=code,
                    code_verifier=verifier,
                    grant_type="authorization_code",
                    redirect_uri=self._redirect_uri,
                )
                claims = self._verify(provider, token, nonce)
                groups = self._groups(provider, client, claims)
        except (JoseError, AuthlibBaseError) as error:
            raise self._refused(getattr(error, "description", "") or str(error)) from error
        except httpx2.HTTPError as error:
            raise self._unavailable(error) from error
        except (ValueError, TypeError, KeyError) as error:
            raise self._refused("it is malformed") from error
        name = next(str(claims[one]) for one in _NAMES if claims.get(one))
        return Person.of(self._settings.oidc_issuer, str(claims["sub"]), name, ()), groups

    @property
    def _redirect_uri(self) -> str:
        return f"{self._settings.public_url}{CALLBACK}"

    def _client(self, provider: _Provider) -> OAuth2Client:
        settings = self._settings
        methods = provider.metadata.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        with_secret = "client_secret_basic" if "client_secret_basic" in methods else "client_secret_post"
        return OAuth2Client(
            settings.oidc_client_id,
            settings.oidc_client_secret or None,
            token_endpoint_auth_method=with_secret if settings.oidc_client_secret else "none",
            scope=settings.oidc_scopes,
            redirect_uri=self._redirect_uri,
            code_challenge_method="S256",
            timeout=_TIMEOUT,
        )

    def _verify(self, provider: _Provider, token: Mapping[str, Any], nonce: str) -> Mapping[str, Any]:
        """The claims of the ID token, after checking its signature and everything that the standard requires."""
        try:
            decoded = jwt.decode(token["id_token"], provider.keys, algorithms=_ALGORITHMS)
        except InvalidKeyIdError:
            provider = self._load(renewed_after=_RENEWED_AFTER)
            decoded = jwt.decode(token["id_token"], provider.keys, algorithms=_ALGORITHMS)
        client_id = self._settings.oidc_client_id
        claims = CodeIDToken(
            decoded.claims,
            decoded.header,
            options={
                "iss": {"essential": True, "value": self._settings.oidc_issuer},
                "aud": {"essential": True, "value": client_id},
                "sub": {"essential": True},
            },
            params={"nonce": nonce, "client_id": client_id, "access_token": token.get("access_token")},
        )
        claims.validate(now=int((self._clock() - EPOCH).total_seconds()), leeway=_LEEWAY)
        verified: Mapping[str, Any] = claims
        return verified

    def _groups(self, provider: _Provider, client: OAuth2Client, claims: Mapping[str, Any]) -> list[str]:
        """The groups in the ID token; or else in the user info, which some providers have them in only."""
        found = claims.get(self._settings.oidc_groups_claim)
        endpoint = provider.metadata.get("userinfo_endpoint")
        if found is None and endpoint:
            response = client.get(endpoint)
            response.raise_for_status()
            information = response.json()
            if information["sub"] != claims["sub"]:
                raise self._refused("the user info is about another person")
            found = information.get(self._settings.oidc_groups_claim)
        listed = found if isinstance(found, list) else [found]
        return [group for group in listed if isinstance(group, str)]

    def _load(self, *, renewed_after: float = _CACHED_FOR) -> _Provider:
        """The provider, from the cache unless that is older than ``renewed_after`` seconds."""
        with self._lock:
            now = self._timer()
            if self._provider is not None and now - self._provider.loaded_at < renewed_after:
                return self._provider
            if self._failed_at is not None and now - self._failed_at < _FAILED_FOR:
                raise self._unavailable()
            try:
                self._provider = self._fetch(now)
            except (httpx2.HTTPError, httpx2.InvalidURL, JoseError, ValueError, TypeError, KeyError) as error:
                self._failed_at = self._timer()
                raise self._unavailable(error) from error
            self._failed_at = None
            return self._provider

    def _fetch(self, now: float) -> _Provider:
        issuer = self._settings.oidc_issuer
        with httpx2.Client(timeout=_TIMEOUT) as client:
            response = client.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration").raise_for_status()
            metadata = response.json()
            if metadata["issuer"] != issuer:
                raise ValueError(f"The provider calls itself {metadata['issuer']!r}; set oidc_issuer to that")
            for name in _ENDPOINTS:
                if not is_secure_url(metadata[name]):
                    raise ValueError(f"{name} is not an https URL")
            keys = KeySet.import_key_set(client.get(metadata["jwks_uri"]).raise_for_status().json())
        return _Provider(metadata, keys, now)

    def _unavailable(self, error: Exception | None = None) -> Problem:
        name = self._settings.oidc_name
        if error is not None:
            # People who sign in cannot do anything about it; the operator can.
            logger.warning("%s is not available: %s: %s", self._settings.oidc_issuer, type(error).__name__, error)
        return Problem("unavailable", f"Signing in with {name} is not available. Try again, or use an API key.")

    def _refused(self, reason: str) -> Problem:
        logger.warning("A response of %s was refused: %s", self._settings.oidc_issuer, reason)
        return Problem(
            "unauthorized", f"The response of {self._settings.oidc_name} was refused: {reason.rstrip('.')}. Try again."
        )
