"""YAML as plain values, with every number as it was written. Nothing of the file is executed or built as an object.

Only the tree of nodes is asked of the parser; values are read off it here. A key that stands twice is an error: which
of the two was meant is not ours to say.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import yaml

FILE_BYTES_MAX: Final = 8 * 1024 * 1024
_TAG: Final = "tag:yaml.org,2002:"
_MERGE: Final = f"{_TAG}merge"


class YamlError(ValueError):
    """The file cannot be read; the message says why, without repeating what is in it."""


def read_yaml(path: Path) -> Any:
    """The value of the one document in ``path``: ``dict``, ``list``, ``str``, ``int``, ``Decimal``, ``bool``, ``None``.

    Raises ``YamlError``.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise YamlError(f"there is no file at {path}") from None
    except OSError as exc:
        raise YamlError(f"{path} cannot be read as a file: {exc.strerror}") from exc
    if len(data) > FILE_BYTES_MAX:
        raise YamlError(f"{path} is larger than {FILE_BYTES_MAX} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise YamlError(f"{path} is not UTF-8 text") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        return None if root is None else _Tree().value(root)
    except YamlError as exc:
        raise YamlError(f"{path}: {exc}") from None
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        where = "" if mark is None else f" at line {mark.line + 1}"
        raise YamlError(f"{path} is no YAML{where}: {exc.problem}") from None
    except yaml.YAMLError:
        raise YamlError(f"{path} is no YAML: it has characters that YAML does not allow") from None
    except RecursionError:
        raise YamlError(f"{path} is nested too deeply") from None


class _Tree:
    """Reads nodes. An anchor is read once, however often it is named; one that leads to itself is refused."""

    def __init__(self) -> None:
        self._read: dict[int, Any] = {}
        self._open: set[int] = set()

    def value(self, node: Any) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        found = id(node)
        if found in self._read:
            return self._read[found]
        if found in self._open:
            raise YamlError(f"line {_line(node)}: an anchor leads to itself")
        if node.tag not in {f"{_TAG}map", f"{_TAG}seq"}:
            raise YamlError(f"line {_line(node)}: a tag that is not plain YAML")
        self._open.add(found)
        made = self._mapping(node) if isinstance(node, yaml.MappingNode) else [self.value(item) for item in node.value]
        self._open.discard(found)
        self._read[found] = made
        return made

    def _mapping(self, node: Any) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                for source in reversed(_sources(self.value(value_node), key_node)):
                    merged |= source
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise YamlError(f"line {_line(key_node)}: a key that is no text")
            if key_node.value in own:
                raise YamlError(f"line {_line(key_node)}: the same key stands there twice")
            own[key_node.value] = self.value(value_node)
        return {**merged, **own}


def _sources(value: Any, node: Any) -> list[dict[str, Any]]:
    sources = value if isinstance(value, list) else [value]
    if not all(isinstance(source, dict) for source in sources):
        raise YamlError(f"line {_line(node)}: << takes a mapping")
    return sources


def _scalar(node: Any) -> Any:
    text: str = node.value
    kind = node.tag.removeprefix(_TAG)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in {"true", "yes", "on"}
    if kind in {"int", "float"}:
        return _number(text)
    if kind in {"str", "timestamp", "value", "merge"}:
        return text
    raise YamlError(f"line {_line(node)}: a tag that is not plain YAML")


def _number(text: str) -> int | Decimal | str:
    """The number as it was written; text for the forms that only YAML has, such as ``1:30``."""
    plain = text.replace("_", "")
    try:
        return int(plain)
    except ValueError:
        pass
    try:
        value = Decimal(plain)
    except InvalidOperation:
        return text
    return value if value.is_finite() else text


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1
