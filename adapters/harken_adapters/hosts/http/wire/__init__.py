"""Requests and responses: messages, bodies, parameters, records, problems and paths."""
