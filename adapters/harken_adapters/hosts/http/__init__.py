"""The HTTP API, independent of web frameworks: operations, access control, rate limits and the wire format.

A host converts the request of its framework to a :class:`Request`, calls the :class:`Api`, and converts the
:class:`Response` back.
"""
