"""A program that serves a real OpenID Connect provider on localhost: Canaille, with three people.

It prints its issuer, and serves until its standard input is closed, so it ends with the process that started it. It
needs ``AUTHLIB_INSECURE_TRANSPORT=1``, as it has no TLS.
"""

from __future__ import annotations

import sys
from threading import Thread

from canaille import create_app
from canaille.app import models
from canaille.backends import Backend
from joserfc.jwk import JWKRegistry
from werkzeug.serving import WSGIRequestHandler, make_server

from openid_provider import PASSWORD, PEOPLE


class _Silent(WSGIRequestHandler):
    """Does not log requests."""

    def log(self, *_: object) -> None:
        pass


def main() -> None:
    """Serve until the standard input is closed."""
    server = make_server("127.0.0.1", 0, lambda *_: [], threaded=True, request_handler=_Silent)
    key = JWKRegistry.generate_key("RSA", 2048, auto_kid=True)
    app = create_app(
        {
            "SECRET_KEY": "a secret of the provider, for tests only",
            "WTF_CSRF_ENABLED": False,
            "PREFERRED_URL_SCHEME": "http",
            "SERVER_NAME": f"localhost:{server.port}",
            "CANAILLE": {
                "DATABASE": "memory",
                "JAVASCRIPT": False,
                "ACL": {"DEFAULT": {"PERMISSIONS": ["use_oidc"]}},
                "LOGGING": {"version": 1, "disable_existing_loggers": True},
            },
            "CANAILLE_OIDC": {"DYNAMIC_CLIENT_REGISTRATION_OPEN": True, "ACTIVE_JWKS": [key.as_dict(private=True)]},
        }
    )
    with app.app_context():
        _add_people()
    server.app = app
    Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"http://localhost:{server.port}\n")
    sys.stdout.flush()
    sys.stdin.read()


def _add_people() -> None:
    people = {
        name: models.User(
            user_name=name,
            formatted_name=name.title(),
            given_name=name.title(),
            family_name="Example",
            emails=[f"{name}@example.com"],
            password=PASSWORD,
        )
        for name in PEOPLE
    }
    for person in people.values():
        Backend.instance.save(person)
    for group in sorted({group for groups in PEOPLE.values() for group in groups}):
        members = [people[name] for name, groups in PEOPLE.items() if group in groups]
        Backend.instance.save(models.Group(display_name=group, members=members))


if __name__ == "__main__":
    main()
