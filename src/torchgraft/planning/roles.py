"""Which tensors are the stem's, which the head's: asked of the anatomy only when it matters."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property

from torch import nn

from torchgraft.adapting.ops import Role
from torchgraft.anatomy import Anatomy, examine
from torchgraft.errors import AnatomyError

__all__ = ["Roles"]

_log = logging.getLogger(__name__)


class Roles:
    """Runs the model at the first question, since most grafts never ask one."""

    def __init__(
        self,
        model: nn.Module,
        *,
        stem: str | Sequence[str] | None,
        head: str | Sequence[str] | None,
        example: object,
    ) -> None:
        self._model = model
        self._stem = stem
        self._head = head
        self._example = example
        self.notes: list[str] = []

    @property
    def known(self) -> bool:
        """Whether anybody has asked, so that further questions cost nothing."""
        return "_anatomy" in self.__dict__

    def of(self, key: str) -> Role:
        """The role of the tensor with this key in the model's state dict."""
        if any(_belongs(key, site.path) for site in self._anatomy.heads):
            return "head"
        if any(_belongs(key, site.path) for site in self._anatomy.stems):
            return "stem"
        return "body"

    @cached_property
    def _anatomy(self) -> Anatomy:
        try:
            return examine(self._model, example=self._example, stem=self._stem, head=self._head)
        except AnatomyError as error:
            _log.debug("stem and head are unknown", exc_info=True)
            if self._stem is not None or self._head is not None:
                raise  # what the user said does not fit the model
            self.notes.append(f"stem and head are unknown: {' '.join(str(error).split())}")
            return Anatomy(stems=(), heads=())


def _belongs(key: str, path: str) -> bool:
    return not path or key.startswith(f"{path}.")
