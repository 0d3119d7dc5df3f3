"""Tells an ONNX model by its first bytes: there is no magic number, so the fields must look right."""

from __future__ import annotations

from torchgraft.formats.onnx.protobuf import BYTES, VARINT, varint

__all__ = ["is_onnx"]

_NUMBERS = {1, 5}
_TEXTS = {2, 3, 4, 6}
_GRAPH = 7
_MESSAGES = {8, 14, 20, 25, 26}
_MAX_IR_VERSION = 100
_MAX_TEXT = 1 << 16
_GRAPH_TAGS = b"\x0a\x12\x2a\x52\x5a\x62\x6a\x72\x7a\x82"
"""First bytes of what a graph may begin with: a node, its name, an initialiser, an input, …"""


def is_onnx(head: bytes) -> bool:
    """Whether these bytes begin a `ModelProto`: its version and known fields of their types, or its graph.

    Other messages begin with a small number too (TensorFlow's SavedModel, Core ML), but go on with what
    would be a text here and isn't one, or with fields that a model doesn't have.
    """
    at, seen, version = 0, 0, False
    while at < len(head):
        tag, at = varint(head, at)
        number, wire = tag >> 3, tag & 7
        value, at = varint(head, at) if at >= 0 else (0, -1)
        if at < 0:
            return version and seen > 1  # cut off within a number
        if number in _NUMBERS and wire == VARINT:
            if number == 1:
                version = 0 < value <= _MAX_IR_VERSION
                if not version:
                    return False
        elif wire == BYTES and number == _GRAPH:
            begins = head[at : at + 1]
            if not value or not begins or begins not in _GRAPH_TAGS:
                return False
            if at + value >= len(head):
                return version or _is_message(head[at:], _GRAPH_TAGS)
            at += value
        elif wire == BYTES and number in _TEXTS:
            text = head[at : at + value]
            if value > _MAX_TEXT or not _is_text(text, cut=len(text) < value):
                return False
            at += value
        elif wire == BYTES and number in _MESSAGES:
            at += value
        else:
            return False
        seen += 1
    return version and seen > 1


def _is_text(raw: bytes, *, cut: bool) -> bool:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if not cut or error.start < len(raw) - 3:
            return False
        text = raw[: error.start].decode("utf-8")
    return all(character.isprintable() or character in "\n\r\t" for character in text)


def _is_message(raw: bytes, tags: bytes) -> bool:
    """Whether the first two fields, as far as they are there, are ones that may stand here."""
    at = 0
    for _ in range(2):
        if at >= len(raw):
            return True
        if raw[at] not in tags:
            return False
        _, at = varint(raw, at)
        length, at = varint(raw, at) if at >= 0 else (0, -1)
        if at < 0:
            return False
        at += length
    return True
