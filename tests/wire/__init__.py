"""Codecs against exact bytes."""
