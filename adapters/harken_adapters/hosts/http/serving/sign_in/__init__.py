"""Signing in and out with a browser: with an API key, or with OpenID Connect."""
