"""What images, documents and sound cost in input tokens, by the formulas that providers publish. Upper bounds.

The model is often not chosen yet, so the dearest formula counts; only models that bill images by a factor of their
own are told apart, by their names. The formulas and their sources are listed in docs/estimates.md.
"""

from __future__ import annotations

from ainfera_gateway.wire.media import Media

IMAGE_TOKENS_MAX = 12_000
"""One image at most: 10,000 patches of 32 pixels, at 1.2 tokens each."""
DOCUMENT_TOKENS_MAX = 100_000
TOOL_PROMPT_TOKENS = 935
"""The largest system prompt that Anthropic adds when tools are offered."""

_IMAGE_FLAT = 1_120
_CLAUDE_TOKENS_MAX = 4_784
_HIGH_PATCHES_MAX, _PATCHES_MAX = 2_500, 10_000
_PAGE_BYTES, _PAGE_TOKENS = 32 * 1024, 4_600
_SOUND_TOKENS_A_SECOND = 32
_SOUND_BYTES_A_SECOND = 2_000

# Hundredths of a token for a patch of 32 pixels, of which one image has at most 1,536.
_PATCH_FACTORS = {"gpt-4-1-nano": 246, "gpt-5-nano": 246, "gpt-4-1-mini": 162, "gpt-5-mini": 162, "o4-mini": 172}
_TILE_FACTORS = {"gpt-4o-mini": (2_833, 5_667)}
_FEW_PATCHES = 1_536


def media_tokens(media: Media, slug: str) -> int:
    """Tokens of one piece for the model ``slug``, which may be the router's."""
    match media.kind:
        case "image":
            return _image(media, slug.replace(".", "-"))
        case "document":
            return _document(media.size)
        case _:
            return _SOUND_TOKENS_A_SECOND * (1 + media.size // (media.bytes_a_second or _SOUND_BYTES_A_SECOND))


def _image(media: Media, slug: str) -> int:
    tile = next((factors for name, factors in _TILE_FACTORS.items() if name in slug), None)
    if tile is not None:
        base, each = tile
        return base if media.detail == "low" else base + each * _tiles(media.width, media.height)
    factor = next((hundredths for name, hundredths in _PATCH_FACTORS.items() if name in slug), None)
    if factor is not None:
        patches = _patches(media.width, media.height, 32, _FEW_PATCHES)
        return -(-patches * factor // 100)
    if not media.width:
        return max(_CLAUDE_TOKENS_MAX, _gemini(0, 0)) if media.detail in {"low", "high"} else IMAGE_TOKENS_MAX
    return _dearest(media.width, media.height, media.detail)


def _dearest(width: int, height: int, detail: str) -> int:
    """The most that any provider takes of an image of this size."""
    # Some add a token for each row of patches.
    claude = min(_patches(width, height, 28, _CLAUDE_TOKENS_MAX) + -(-height // 28), _CLAUDE_TOKENS_MAX)
    older = min(-(-width * height // 750), 1_600)
    tiles = 85 if detail == "low" else 85 + 170 * _tiles(width, height)
    most = 0 if detail == "low" else _HIGH_PATCHES_MAX if detail == "high" else _PATCHES_MAX
    patches = _patches(width, height, 32, most) * 6 // 5
    return max(_IMAGE_FLAT, claude, older, tiles, patches, _gemini(width, height))


def _patches(width: int, height: int, edge: int, most: int) -> int:
    """Squares of ``edge`` pixels that cover an image, which is made smaller until they are at most ``most``."""
    return min(-(-width // edge) * -(-height // edge), most) if width else most


def _tiles(width: int, height: int) -> int:
    """Tiles of 512 pixels after an image was fitted into 2,048 pixels and its short side made 768; 8 when unknown."""
    long, short = max(width, height), min(width, height)
    if not short:
        return 8
    long_side = min(2_048, -(-long * 768 // short))
    return min(8, -(-long_side // 512) * 2)


def _gemini(width: int, height: int) -> int:
    """258 for a tile of 768 pixels, of an image that is fitted into 3,072."""
    return 258 * (-(-min(width, 3_072) // 768) * -(-min(height, 3_072) // 768) if width else 16)


def _document(size: int) -> int:
    """How many pages there are is not looked up: one for 32 KiB, each as dense text and as a picture."""
    if not size:
        return DOCUMENT_TOKENS_MAX
    return min(-(-size // _PAGE_BYTES) * _PAGE_TOKENS, DOCUMENT_TOKENS_MAX)
