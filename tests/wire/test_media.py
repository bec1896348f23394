"""Sizes of images from their first bytes, pieces of media as requests hold them, and the text that is left."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ainfera_gateway.wire.anthropic_messages.request import parse as parse_messages
from ainfera_gateway.wire.image_size import image_size
from ainfera_gateway.wire.media import Media, base64_of, document, image, sound, without
from ainfera_gateway.wire.openai_chat.request import parse as parse_chat
from ainfera_gateway.wire.parsed import Weight

law = settings(max_examples=200, deadline=None, database=None)


def png(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + bytes(40)


def jpeg(width: int, height: int, *, before: int = 300, frame: int = 0xC0) -> bytes:
    """With ``before`` bytes of EXIF that hold a smaller frame, tables, fill bytes, then the frame."""
    thumbnail = b"\xff\xc0" + struct.pack(">HBHH", 17, 8, 9, 9)
    exif = b"\xff\xe1" + struct.pack(">H", 2 + before) + thumbnail.ljust(before, b"\0")
    tables = b"\xff\xdb" + struct.pack(">H", 67) + bytes(65) + b"\xff\xc4" + struct.pack(">H", 4) + b"\1\2"
    return (
        b"\xff\xd8"
        + exif
        + tables
        + b"\xff\xff"
        + bytes([frame])
        + struct.pack(">HBHH", 17, 8, height, width)
        + bytes(20)
    )


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + bytes(20)


def webp(kind: bytes, width: int, height: int) -> bytes:
    match kind:
        case b"VP8X":
            chunk = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        case b"VP8L":
            chunk = b"\x2f" + (width - 1 | (height - 1) << 14).to_bytes(4, "little")
        case _:
            chunk = b"\x10\x02\x00\x9d\x01\x2a" + struct.pack("<HH", width, height)
    return b"RIFF" + struct.pack("<I", 100) + b"WEBP" + kind + struct.pack("<I", 80) + chunk + bytes(20)


FILES = {
    "png": png,
    "jpeg": jpeg,
    "progressive jpeg": lambda width, height: jpeg(width, height, frame=0xC2),
    "jpeg with a profile": lambda width, height: jpeg(width, height, before=40_000),
    "gif": gif,
    "webp": lambda width, height: webp(b"VP8 ", width, height),
    "webp lossless": lambda width, height: webp(b"VP8L", width, height),
    "webp extended": lambda width, height: webp(b"VP8X", width, height),
}


@pytest.mark.parametrize("size", [(1, 1), (640, 480), (1024, 3), (16383, 16383)])
@pytest.mark.parametrize("kind", FILES)
def test_the_size_is_read_from_the_head(kind: str, size: tuple[int, int]) -> None:
    file = FILES[kind](*size)
    assert image_size(file) == size
    data = base64.b64encode(file).decode()
    assert image(data) == Media("image", len(data) * 3 // 4, *size)


@pytest.mark.parametrize(
    "head",
    [
        b"", b"\x89PNG", b"\x89PNG\r\n\x1a\n" + bytes(8), png(0, 5), png(5, 1 << 31), png(640, 480)[:20], gif(0, 7),
        gif(5, 5)[:9], b"\xff\xd8", b"\xff\xd8" + b"\xff" * 50, b"\xff\xd8\xff\xe1\x00\x00" * 20, jpeg(5, 5)[:330],
        jpeg(7, 0), b"\xff\xd8\x00\x00" * 9, webp(b"VP9 ", 5, 5), webp(b"VP8X", 5, 5)[:25], webp(b"VP8 ", 0, 5),
        webp(b"VP8L", 5, 5)[:22], b"%PDF-1.7" + bytes(40), b"<svg width='5' height='5'/>",
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_unknown(head: bytes) -> None:
    assert image_size(head) is None
    one = image(base64.b64encode(head).decode())
    assert (one.width, one.height) == (0, 0)


@law
@given(st.sampled_from([b"", *(make(640, 480)[:24] for make in FILES.values())]), st.binary(max_size=200))
def test_any_bytes_give_a_size_within_bounds_or_none(start: bytes, rest: bytes) -> None:
    found = image_size(start + rest)
    assert found is None or all(0 < side <= 65_536 for side in found)


def test_a_frame_that_starts_late_is_not_looked_for() -> None:
    assert image(base64.b64encode(jpeg(640, 480, before=60_000)).decode()).width == 0


@pytest.mark.parametrize("data", ["", "!", "A", "AAAA====", "\u00e9" * 90, "=" * 5000])
def test_what_is_no_base64_is_an_unknown_image(data: str) -> None:
    assert image(data) == Media("image", len(data) * 3 // 4)


def test_sound_says_how_fast_it_is_within_bounds() -> None:
    def wav(rate: int) -> str:
        head = b"RIFF" + bytes(4) + b"WAVEfmt " + struct.pack("<IHHII", 16, 1, 1, 16_000, rate) + bytes(8_000)
        return base64.b64encode(head).decode()

    assert [sound(wav(rate)).bytes_a_second for rate in (0, 32_000, 1 << 31)] == [2_000, 32_000, 400_000]
    assert sound("SUQz" * 1000) == Media("sound", 3_000)
    assert document(None).size == 0
    assert document("").size == 1


def test_base64_is_found_in_data_urls_alone() -> None:
    assert base64_of("data:image/png;base64,AAAA") == "AAAA"
    assert base64_of("DATA:,") == ""
    assert base64_of("https://example.com/data:image/png;base64,AAAA") is None


def test_payloads_are_taken_out_in_their_order() -> None:
    assert without(b'["x","AB/C","y","AB"]', ["AB/C", "AB"]) == b'["x","","y",""]'
    assert without(b'["AB\\/C"]', ["AB/C"]) == b'[""]'
    assert without(b'["AB"]', ["AB", "AB"]) is None
    assert without(b"[]", []) == b"[]"


def weigh_chat(*parts: dict[str, Any], **more: Any) -> Weight:
    messages = [{"role": "user", "content": list(parts)}, *more.pop("messages", [])]
    return parse_chat(json.dumps({"model": "m", "messages": messages} | more).encode(), flat=False).weigh()


DATA = base64.b64encode(png(640, 480)).decode()
PICTURE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}", "detail": "low"}}


def test_chat_media_are_told_apart_and_their_base64_is_no_text() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "find", "arguments": '{"said":"by a tool"}'}}
    weight = weigh_chat(
        {"type": "text", "text": "see"},
        PICTURE,
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "input_audio", "input_audio": {"data": "SUQz" * 100, "format": "mp3"}},
        {"type": "file", "file": {"filename": "report.pdf", "file_data": "data:application/pdf;base64," + "QUJD" * 50}},
        {"type": "file", "file": {"file_id": "file-1"}},
        messages=[{"role": "assistant", "content": None, "tool_calls": [call]}],
    )
    assert weight.media == (
        Media("image", len(DATA) * 3 // 4, 640, 480, "low"),
        Media("image"),
        Media("sound", 300),
        Media("document", 150),
        Media("document"),
    )
    assert weight.messages == 2
    for payload in (DATA.encode(), b"SUQz", b"QUJD"):
        assert payload not in weight.text
    for told in (b"see", b"report.pdf", b"example.com", b"by a tool"):
        assert told in weight.text


def test_escaped_base64_is_taken_out_and_one_that_is_not_found_leaves_the_words() -> None:
    slashes = "data:image/png;base64," + DATA[:40] + "///" + DATA
    part = {"type": "image_url", "image_url": {"url": slashes}}
    body = json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "see"}, part]}]}
    )
    escaped = parse_chat(body.replace("/", "\\/").encode(), flat=False).weigh()
    assert len(escaped.text) < 200
    oddly = parse_chat(body.replace("//", "/\\u002f").encode(), flat=False).weigh()
    assert b"see" in oddly.text
    assert len(oddly.text) < 200
    assert len(oddly.media) == 1


def test_messages_with_escaped_base64_leave_the_words() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": DATA + "////"}
    content = [{"type": "text", "text": "see"}, {"type": "image", "source": source}]
    body = json.dumps({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": content}]})
    weight = parse_messages(body.replace("//", "/\\u002f").encode()).weigh()
    assert b"see" in weight.text
    assert len(weight.text) < 100
    assert [(one.width, one.height) for one in weight.media] == [(640, 480)]
