"""Notifiers for outbound notifications: webhooks, Amazon SNS, Apprise and the log."""
