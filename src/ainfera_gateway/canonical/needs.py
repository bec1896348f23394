"""Capabilities a model may have and a request may need."""

from __future__ import annotations

TOOLS = "tools"
VISION = "vision"
AUDIO = "audio"
DOCUMENTS = "documents"
STRUCTURED_OUTPUT = "structured_output"
EMBEDDINGS = "embeddings"

MEDIA = frozenset({VISION, AUDIO, DOCUMENTS})
"""Needs whose content is billed by what it shows, not by the length of its base64."""
