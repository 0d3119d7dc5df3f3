"""Which tensors are the stem's, which the head's: asked of the anatomy only when it matters."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property

from torch import nn

from torchgraft.adapting import InputLayout, RowBlocks
from torchgraft.adapting.ops import Role
from torchgraft.adapting.places import Window
from torchgraft.anatomy import Anatomy, Site, examine
from torchgraft.anatomy.patches import patch_orders
from torchgraft.anatomy.positions import PositionTable, position_tables
from torchgraft.anatomy.sites import named_sites
from torchgraft.anatomy.unsharded import unsharded
from torchgraft.anatomy.vocabulary_tables import beside_tables, vocabulary_tables
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
        self._given = model
        self._stem = stem
        self._head = head
        self._example = example
        self.notes: list[str] = []
        for names, role in ((stem, "stem"), (head, "head")):
            if names is not None:
                named_sites(model, names, role)  # a wrong name is said even where nobody asks for roles

    @property
    def known(self) -> bool:
        """Whether anybody has asked, so that further questions cost nothing."""
        return "_anatomy" in self.__dict__

    @cached_property
    def _model(self) -> nn.Module:
        return unsharded(self._given)

    def of(self, key: str) -> Role:
        """The role of the tensor with this key in the model's state dict."""
        if key in self._over_tokens:
            return "vocabulary"
        table = self.positions.get(key)
        if table is not None:
            return "relative-position" if isinstance(table.place, Window) else "position"
        return self.end_of(key)

    @cached_property
    def positions(self) -> dict[str, PositionTable]:
        """The tables of positions, by key."""
        return position_tables(self._model, self._example)

    def patch_order(self, key: str) -> tuple[int, int, int] | None:
        """In which order the `Linear` whose weight this is gets the pixels of a patch, if it does."""
        return self._patch_orders.get(key)

    @cached_property
    def _patch_orders(self) -> dict[str, tuple[int, int, int]]:
        return patch_orders(self._model, self._example)

    def end_of(self, key: str) -> Role:
        """Likewise, with tables over tokens counted to the end of the model that they are at."""
        if any(_belongs(key, site.path) for site in self._anatomy.heads):
            return "head"
        if any(_belongs(key, site.path) for site in self._anatomy.stems):
            return "stem"
        return "body"

    def blocks(self, key: str) -> RowBlocks:
        """How the rows of a head's tensor are laid out."""
        found = (site.blocks for site in self._anatomy.heads if _belongs(key, site.path))
        return next((blocks for blocks in found if blocks is not None), RowBlocks())

    def layout(self, key: str) -> InputLayout | None:
        """How the image's channels lie in a stem's weight, if it sees each several times."""
        found = (site.layout for site in self._anatomy.stems if _belongs(key, site.path))
        return next(found, None)

    @cached_property
    def tables(self) -> tuple[Site, ...]:
        """The tables over tokens."""
        return vocabulary_tables(self._model, self._anatomy)

    @cached_property
    def _over_tokens(self) -> frozenset[str]:
        """The keys of their tensors, and of those that share memory with them under other names."""
        layers = [self._model.get_submodule(site.path) for site in self.tables]
        held = {id(tensor) for layer in layers for tensor in layer.parameters(recurse=False)}
        held |= {id(tensor) for _, _, tensor in beside_tables(self._model, self.tables)} if held else set()
        state = self._model.state_dict(keep_vars=True) if held else {}
        return frozenset(key for key, tensor in state.items() if id(tensor) in held)

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
