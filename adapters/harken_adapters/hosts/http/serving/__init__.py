"""Serving the API: threaded and asynchronous hosts, WSGI, and HTML pages."""
