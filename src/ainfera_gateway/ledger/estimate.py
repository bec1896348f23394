"""How many tokens a call takes, without a tokenizer. How good the estimates are is measured: docs/estimates.md.

Input is estimated from above: never below what providers bill, seldom far above. Text is weighed by kind of byte.
Common words are cheap a letter and long runs of letters are not; digits and marks take about a token each; beyond
ASCII a character is weighed by its first byte, which tells its script. JSON's escapes are read as what they stand for.
"""

from __future__ import annotations

_REQUEST_TOKENS = 48
_MESSAGE_TOKENS = 8
"""What a provider's chat template puts around a conversation and around each message."""

_CONTINUATION = bytes(range(0x80, 0xC0))
_COMMON_TWO = bytes([*range(0xCE, 0xD2), *range(0xD7, 0xDC)])
"""First bytes of Greek, Cyrillic, Hebrew and Arabic: letters that are often pieces of longer tokens."""

# Bytes of a kind, and the weight of each in hundredths of a token, the most frequent kinds first.
_KINDS: tuple[tuple[bytes, int], ...] = (
    (bytes(range(97, 123)), 21),
    (b" ", 18),
    (bytes(byte for byte in range(128) if not chr(byte).isalnum() and byte not in b" \t\r\n"), 77),
    (bytes(range(48, 58)), 121),
    (bytes(range(65, 91)), 69),
    (b"\r\n", 81),
    (b"\t", 139),
    (_CONTINUATION, 0),
    (_COMMON_TWO, 148),
    (bytes(range(0xC0, 0xE0)), 390),
    (b"\xe0", 330),
    (b"\xe1", 450),
    (b"\xe2", 280),
    (b"\xe3", 180),
    (bytes(range(0xE4, 0xEA)), 290),
    (bytes(range(0xEA, 0xF0)), 320),
    (bytes(range(0xF0, 0x100)), 420),
)
_SHAPES = bytes(97 if 97 <= byte < 123 else 48 if 48 <= byte < 58 else 32 for byte in range(256))
_LONG_RUN, _LONG_RUN_WEIGHT = b"a" * 8, 390
"""A stretch of so many small letters is seldom one token: a long word, often of a language other than English."""
_CODE, _CODE_WEIGHT = b"a0", 445
"""A digit after a small letter: identifiers, hashes and base64, which fall into short tokens."""


def input_tokens(text: bytes, messages: int) -> int:
    """An upper estimate for ``text`` (the JSON of messages and tools, as sent) in ``messages`` messages."""
    return text_tokens(text) + _MESSAGE_TOKENS * messages + _REQUEST_TOKENS


def text_tokens(text: bytes) -> int:
    """An upper estimate for JSON text alone, rounded down: linear in its length, whatever it holds."""
    text = _plain(text)
    shapes = text.translate(_SHAPES)
    hundredths = shapes.count(_LONG_RUN) * _LONG_RUN_WEIGHT + shapes.count(_CODE) * _CODE_WEIGHT
    for kind, weight in _KINDS:
        rest = text.translate(None, kind)
        hundredths += (len(text) - len(rest)) * weight
        text = rest
        if not text:
            break
    return hundredths // 100


def output_tokens(relayed_bytes: int) -> int:
    """Tokens of relayed output whose usage never came: three for eleven bytes, rounded up.

    This is the mean over what models write and over the tokenizers in use, so it favours neither side.
    """
    return -(-relayed_bytes * 3 // 11)


def _plain(text: bytes) -> bytes:
    """``text`` with those escapes of JSON read that weigh more than what they stand for: quotes and code points."""
    if b"\\" not in text:
        return text
    if b"\\u" in text:
        text = _with_characters(text)
    return text.replace(b'\\"', b'"')


def _with_characters(text: bytes) -> bytes:
    """Each escaped code point as the character it is. All of this runs in C, a few nanoseconds a byte."""
    # An escaped backslash escapes nothing itself: it becomes a mark that JSON cannot hold.
    text = text.replace(b"\\\\", b"\x01")
    # The codec reads bytes as Latin-1, so what is beyond that goes through it in its own escapes.
    characters = text.decode("utf-8", "replace").encode("raw_unicode_escape")
    halves = characters.decode("raw_unicode_escape", "replace").encode("utf-16-le", "surrogatepass")
    return halves.decode("utf-16-le", "replace").encode()
