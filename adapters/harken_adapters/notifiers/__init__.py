"""Channels: how news leaves the house, each with its real protocol."""
