"""A real OpenID Connect provider on localhost, see :mod:`openid_server`, and the people who sign in there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import requests
from attrs import frozen

from hosts.html_forms import Html
from support import PATIENCE

PASSWORD: Final = "correct horse battery staple"
#: The groups of each person.
PEOPLE: Final = {
    "ann": ("support",),
    "bob": ("support", "shop-leads"),
    "eve": ("visitors",),
}


@frozen
class Provider:
    """The provider, with a client that is registered for one redirect URI."""

    issuer: str
    client_id: str
    client_secret: str

    def settings(self, public_url: str) -> dict[str, Any]:
        """The settings of a server whose people sign in here."""
        return {
            "public_url": public_url,
            "oidc_issuer": self.issuer,
            "oidc_client_id": self.client_id,
            "oidc_client_secret": self.client_secret,
            "oidc_name": "Example Login",
            "oidc_scopes": "openid profile groups",
            "oidc_groups": ("support: read moderate", "shop-leads: admin in shop"),
        }

    def sign_in(self, url: str, name: str) -> str:
        """Sign a person in at an authorization URL, as a browser does. Returns where the provider redirects to."""
        with requests.Session() as browser:
            answer = browser.get(url, allow_redirects=False, timeout=PATIENCE)
            while True:
                answer.raise_for_status()
                if answer.is_redirect:
                    following = urljoin(answer.url, answer.headers["location"])
                    if not following.startswith(self.issuer):
                        return following
                    answer = browser.get(following, allow_redirects=False, timeout=PATIENCE)
                else:
                    form = next(one for one in Html(answer.text).forms if one.method.lower() == "post")
                    data = form.data(login=name, password=PASSWORD)
                    answer = browser.post(answer.url, data=data, allow_redirects=False, timeout=PATIENCE)


@contextmanager
def provider_process() -> Iterator[str]:
    """The issuer of a new provider."""
    folder = Path(__file__).parent
    words = [sys.executable, str(folder / "openid_server.py")]
    environment = {**os.environ, "AUTHLIB_INSECURE_TRANSPORT": "1"}
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, cwd=folder, env=environment, **pipes) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def register(issuer: str, public_url: str, **metadata: Any) -> Provider:
    """Register a client (RFC 7591) for a server at a URL."""
    wanted = {
        "client_name": "Harken",
        # A client at this address needs no consent.
        "client_uri": "http://127.0.0.1",
        "redirect_uris": [f"{public_url}/sign-in/openid/callback"],
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "scope": "openid profile groups",
        "token_endpoint_auth_method": "client_secret_basic",
    }
    description = requests.get(f"{issuer}/.well-known/openid-configuration", timeout=PATIENCE).json()
    answer = requests.post(description["registration_endpoint"], json={**wanted, **metadata}, timeout=PATIENCE)
    assert answer.status_code == 201, answer.text
    registered: Mapping[str, str] = answer.json()
    return Provider(issuer, registered["client_id"], registered.get("client_secret", ""))
