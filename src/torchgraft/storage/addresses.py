"""Addresses of files that are not on this machine: which texts are one, and how one is shown."""

from __future__ import annotations

import re

__all__ = ["is_address", "scheme_of", "without_secrets"]

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")  # two letters at least: C:// is a drive


def is_address(text: object) -> bool:
    """Whether this is an address (`https://…`, `s3://…`) and no path."""
    return isinstance(text, str) and _ADDRESS.match(text) is not None


def scheme_of(address: str) -> str:
    """The part before `://`, in lower case; empty for a path."""
    found = _ADDRESS.match(address)
    return found[1].lower() if found else ""


def without_secrets(address: str) -> str:
    """The address for messages: without `user:password@` and its query, where tokens and signatures are."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address
    rest, query = re.split(r"[?#]", rest, maxsplit=1)[0], re.search(r"\?", rest) is not None
    authority, slash, path = rest.partition("/")
    host = authority.rpartition("@")[2]
    return f"{scheme}://{host}{slash}{path}{'?…' if query else ''}"
