"""What servers send instead of a file while they say that all is well."""

from __future__ import annotations

__all__ = ["what_came_instead"]

_PAGE = (b"<!doctype html", b"<html", b"<head>", b"<?xml version")
_POINTER = b"version https://git-lfs.github.com/spec/"


def what_came_instead(start: bytes, name: str) -> tuple[str, str] | None:
    """What begins with these bytes, if it is no file of that name; and the next step."""
    head = start[:256].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if head.startswith(_PAGE) and not name.lower().endswith((".html", ".htm", ".xhtml", ".xml", ".svg")):
        return "a web page", "use the address of the file itself; a login or consent page may be in the way"
    if start.startswith(_POINTER):
        return "a Git LFS pointer", "use the address that sends the file itself, as /resolve/ or /media/ do"
    return None
