"""Alerts: the rules that raise them, the patterns that the rules look for, and the alerts themselves."""
