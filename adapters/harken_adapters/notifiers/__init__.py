"""Notifiers for outbound notifications: webhooks, Amazon SNS, SQS and API Gateway, Apprise and the log."""
