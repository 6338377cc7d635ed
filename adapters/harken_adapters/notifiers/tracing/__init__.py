"""Channels to tracing products, which show feedback on the traces that it is about. Needs the extra ``tracing``."""
