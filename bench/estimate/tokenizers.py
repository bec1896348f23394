"""The tokenizers that can be had: those in the litellm wheel, and SmolLM2's own from its GGUF file.

All are byte-level BPE, so ``tiktoken`` runs them all: a merge's place in its file is the rank of what it makes. The
splitting before the merges is each tokenizer's own.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import subprocess
import sys
import unicodedata
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import regex
import tiktoken

from ainfera_gateway.providers.local.model_file import pull

WHEEL = "litellm-1.109.1-cp310-abi3-manylinux_2_28_x86_64.whl"
WHEEL_SHA256 = "1c8b4dd671fa0cd0850aa751678704ff77e595fb1e6085b2dc3be39ee19bdaaf"
_FOLDER = "litellm/litellm_core_utils/tokenizers/"
_CL100K = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
_O200K = "fb374d419588a4632f3f557e76b4b70aebbca790"
_P50K = "ec7223a39ce59f226a68acc30dc1af2788490e15"
"""tiktoken's own names for its three files."""

_GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CL100K_SPLIT = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
    r"|\s+(?!\S)|\s"
)
_O200K_SPLIT = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DEEPSEEK_SPLITS = (
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
    (
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
)


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Counts the tokens of a text, without special ones. A piece that was seen is remembered."""

    name: str
    encoding: tiktoken.Encoding
    split: Callable[[str], Iterable[str]]
    seen: dict[str, int] = field(default_factory=dict)

    def count(self, text: str) -> int:
        seen = self.seen
        total = 0
        for piece in self.split(text):
            tokens = seen.get(piece)
            if tokens is None:
                tokens = len(self.encoding.encode_ordinary(piece))
                if len(piece) < 40:
                    seen[piece] = tokens
            total += tokens
        return total


def tokenizers(cache: Path) -> list[Tokenizer]:
    """All of them, fetched once into ``cache``."""
    folder = _unpacked(cache)
    return [
        _of_ranks("cl100k_base", _ranks_of(folder / _CL100K), _CL100K_SPLIT),
        _of_ranks("o200k_base", _ranks_of(folder / _O200K), _O200K_SPLIT),
        _of_ranks("p50k_base", _ranks_of(folder / _P50K), _GPT2),
        _of_json("anthropic", folder / "anthropic_tokenizer.json", (_GPT2,), normal_form="NFKC"),
        _of_json("deepseek", folder / "deepseek_tokenizer.json", _DEEPSEEK_SPLITS),
        _of_gguf("smollm2", pull(cache)),
    ]


def _unpacked(cache: Path) -> Path:
    """The tokenizer files of the pinned wheel; nothing of it is installed."""
    folder = cache / "tokenizers" / WHEEL_SHA256[:16]
    if folder.exists():
        return folder
    wheel = cache / "tokenizers" / WHEEL
    if not wheel.exists() or hashlib.sha256(wheel.read_bytes()).hexdigest() != WHEEL_SHA256:
        wheel.parent.mkdir(parents=True, exist_ok=True)
        wanted = wheel.parent / "litellm.txt"
        wanted.write_text(f"litellm=={WHEEL.split('-')[1]} --hash=sha256:{WHEEL_SHA256}\n")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        pip += ["--only-binary", ":all:", "--platform", "manylinux_2_28_x86_64", "--python-version", "3.11"]
        subprocess.run([*pip, "--require-hashes", "-d", str(wheel.parent), "-r", str(wanted)], check=True)
    making = folder.with_suffix(".part")
    making.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            if member.startswith(_FOLDER) and not member.endswith((".py", "/")):
                (making / member.removeprefix(_FOLDER)).write_bytes(archive.read(member))
    making.rename(folder)
    return folder


def _of_ranks(name: str, ranks: dict[bytes, int], *splits: str, normal_form: Any = None) -> Tokenizer:
    encoding = tiktoken.Encoding(name, pat_str=r"(?s:.+)", mergeable_ranks=ranks, special_tokens={})
    patterns = [regex.compile(split) for split in splits]

    def pieces(text: str) -> Iterable[str]:
        if normal_form is not None:
            text = unicodedata.normalize(normal_form, text)
        found: Iterable[str] = (text,)
        for pattern in patterns:
            found = [piece for part in found for piece in _isolated(pattern, part)]
        return found

    return Tokenizer(name, encoding, pieces)


def _isolated(pattern: regex.Pattern[str], text: str) -> Iterable[str]:
    """What matches, and what stands between, in order."""
    end = 0
    for match in pattern.finditer(text):
        start = match.start()
        if start > end:
            yield text[end:start]
        end = match.end()
        if end > start:
            yield match.group()
    if end < len(text):
        yield text[end:]


def _ranks_of(path: Path) -> dict[bytes, int]:
    lines = (line.split() for line in path.read_bytes().splitlines() if line)
    return {base64.b64decode(token): int(rank) for token, rank in lines}


def _of_json(name: str, path: Path, splits: tuple[str, ...], normal_form: str | None = None) -> Tokenizer:
    model = json.loads(path.read_bytes())["model"]
    return _of_ranks(name, _ranks_of_merges(model["merges"]), *splits, normal_form=normal_form)


def _of_gguf(name: str, path: Path) -> Tokenizer:
    with path.open("rb") as file:
        merges = _gguf_strings(file, "tokenizer.ggml.merges")
    return _of_ranks(name, _ranks_of_merges(merges), r"\p{N}", _GPT2)


def _ranks_of_merges(merges: Iterable[str]) -> dict[bytes, int]:
    """Bytes first, then each merge by its place."""
    byte_of = _printable_bytes()
    ranks = {bytes([byte]): byte for byte in range(256)}
    for place, merge in enumerate(merges):
        ranks.setdefault(bytes(byte_of[character] for character in merge if character != " "), 256 + place)
    return ranks


def _printable_bytes() -> dict[str, int]:
    """Byte-level BPE writes each byte as a character one can see: itself if it is one, else the next from 256 on."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {chr(byte): byte for byte in seen} | {chr(256 + place): byte for place, byte in enumerate(hidden)}


_GGUF_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_GGUF_STRING, _GGUF_ARRAY = 8, 9


def _gguf_strings(file: BinaryIO, wanted: str) -> list[str]:
    """The list of texts that the head of a GGUF file has under ``wanted``."""
    _, _, _, members = struct.unpack("<4sIQQ", file.read(24))
    for _ in range(members):
        key = _gguf_text(file)
        (kind,) = struct.unpack("<I", file.read(4))
        if kind == _GGUF_STRING:
            _gguf_text(file)
        elif kind == _GGUF_ARRAY:
            inner, length = struct.unpack("<IQ", file.read(12))
            if inner == _GGUF_STRING:
                texts = [_gguf_text(file) for _ in range(length)]
                if key == wanted:
                    return texts
            else:
                file.seek(_GGUF_SIZES[inner] * length, 1)
        else:
            file.seek(_GGUF_SIZES[kind], 1)
    raise ValueError(f"no {wanted} in this file")


def _gguf_text(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    return file.read(length).decode()
