"""Codecs of the dialects, both roles. Bytes in, values out; no I/O, no async."""
