"""Anthropic messages, from both sides: callers of ``/v1/messages`` and providers that speak it."""
