"""How many input tokens a body may be, without a tokenizer: never below what providers bill, seldom far above.

Text is weighed by kind of byte: letters run several to a token, digits and punctuation about one each, bytes beyond
ASCII two to a token. Each message and the request pay an allowance for the provider's chat template.
"""

from __future__ import annotations

_LETTERS = bytes(range(65, 91)) + bytes(range(97, 123))
_DIGITS = bytes(range(48, 58))
_SPACES = b" \t\r\n"
_HIGH = bytes(range(128, 256))

_REQUEST_TOKENS = 48
_MESSAGE_TOKENS = 8


def input_tokens(text: bytes, messages: int) -> int:
    """An upper estimate for ``text`` (the JSON of messages and tools, as sent) in ``messages`` messages."""
    size = len(text)
    no_letters = text.translate(None, _LETTERS)
    no_digits = no_letters.translate(None, _DIGITS)
    no_spaces = no_digits.translate(None, _SPACES)
    marks = no_spaces.translate(None, _HIGH)
    letters = size - len(no_letters)
    digits = len(no_letters) - len(no_digits)
    spaces = len(no_digits) - len(no_spaces)
    high = len(no_spaces) - len(marks)
    # In tenths of a token, so that the sum stays an integer.
    tenths = letters * 10 // 3 + digits * 10 + spaces * 2 + high * 6 + len(marks) * 7
    return tenths // 10 + _MESSAGE_TOKENS * messages + _REQUEST_TOKENS


def output_tokens(relayed_bytes: int) -> int:
    """Tokens of relayed output whose usage never came: four bytes a token, rounded up."""
    return -(-relayed_bytes // 4)
