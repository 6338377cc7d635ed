"""Alerting: evaluating alert rules, raising alerts and resolving them."""
