"""Which requests are answered: those of a browser on this machine whose user was given the address.

The address holds a random token, since other users of the machine reach the port too. `Host` and `Origin` are
checked, since a page of another site can send requests to this port, and can give its own name the address of
this machine (DNS rebinding) to read the answers.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from http import HTTPStatus

__all__ = ["Refusal", "new_token", "path_behind_token", "refusal"]

_HOSTS = frozenset({"127.0.0.1", "localhost"})
_LONGEST_PATH = 2000


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request isn't answered."""

    status: HTTPStatus
    message: str


def new_token() -> str:
    """192 random bits, as they stand in the address."""
    return secrets.token_urlsafe(24)


def refusal(method: str, path: str, *, host: str | None, origin: str | None, token: str) -> Refusal | None:
    """`None` for a request that may be answered.

    Args:
        method: Such as `GET`.
        path: As in the request's first line.
        host: The header; any port will do, since a tunnel brings another one.
        origin: The header, if there is one; it has to be the page's own.
        token: That the path has to begin with.
    """
    if host is None or _name(host) not in _HOSTS:
        return Refusal(HTTPStatus.FORBIDDEN, "this viewer answers to 127.0.0.1 and localhost only")
    if origin is not None and origin != f"http://{host}":
        return Refusal(HTTPStatus.FORBIDDEN, "this viewer answers to its own pages only")
    if method != "GET":
        return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "there is nothing but to read here")
    if len(path) > _LONGEST_PATH or path_behind_token(path, token) is None:
        return Refusal(HTTPStatus.FORBIDDEN, "the token in the address is wrong; torchgraft view prints it")
    return None


def path_behind_token(path: str, token: str) -> str | None:
    """What follows the token, without a query: `` or `/…`; `None` if the token is another."""
    given, slash, rest = path.partition("?")[0].removeprefix("/").partition("/")
    same = secrets.compare_digest(given.encode("utf-8", "replace"), token.encode())
    return slash + rest if same else None


def _name(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name.lower() if colon and port.isascii() and port.isdigit() else host.lower()
