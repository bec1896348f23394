"""Half surrogate pairs, which a provider sends when it cuts a stream inside a character, and which no UTF-8 holds."""

from __future__ import annotations


def encodable(text: str) -> str:
    """``text`` with each half pair as the replacement character; two halves that meet become their character."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
