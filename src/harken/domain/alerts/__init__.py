"""Alerts, the rules that raise them, and the patterns that the rules detect."""
