"""OpenAI chat completions and its flat twin ``/v1/inference``."""
