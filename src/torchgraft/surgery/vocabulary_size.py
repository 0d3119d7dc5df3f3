"""Another vocabulary for the tables over tokens: embeddings, and heads that score tokens."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from torchgraft.adapting import Change, RowMap, Vocabulary
from torchgraft.adapting.token_rows import normal_vocabulary_mode
from torchgraft.anatomy.configs import all_configs
from torchgraft.anatomy.mode_rules import ModeRules
from torchgraft.anatomy.sites import Anatomy, Site, named_sites
from torchgraft.anatomy.vocabulary_tables import beside_tables, rows_of, token_map, vocabulary_tables
from torchgraft.errors import AdaptError, AnatomyError
from torchgraft.surgery.edits import Edits
from torchgraft.surgery.ends import Ends
from torchgraft.surgery.mirrors import VOCABULARY_NAMES, mirror

if TYPE_CHECKING:
    from torchgraft.tokens import Tokens

__all__ = ["WantedVocabulary", "with_known_tokens"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WantedVocabulary:
    """The arguments of `adapt` that concern tokens."""

    size: int | None
    source_tokens: Tokens | None
    tokens: Tokens | None
    pad_to_multiple: int | None
    tables: str | Sequence[str] | None

    def change(self, model: nn.Module, ends: Ends, rules: ModeRules, edits: Edits) -> dict[str, Any]:
        """Collect the edits; give the arguments that would repeat them, `{}` if there are none.

        Raises:
            AnatomyError: The tables over tokens can't be told.
            AdaptError, DataError: The arguments can't be used.
        """
        rows = token_map(self.source_tokens, self.tokens)
        if self.size is None and rows is None and self.pad_to_multiple is None:
            return {}
        tables = self._tables(model, ends)
        size = self._rows(tables, rows)
        if not _resize(model, tables, size, rows, rules, edits):
            return {}
        return {"vocabulary": size, "tables": [table.path for table in tables]}

    def _tables(self, model: nn.Module, ends: Ends) -> tuple[Site, ...]:
        if self.tables is not None:
            return named_sites(model, self.tables, "table over tokens")
        try:
            found, why = ends.look().anatomy, "no embedding sees the input"
        except AnatomyError as error:
            found, why = Anatomy((), ()), error.what
        tables = vocabulary_tables(model, found)
        if not tables:
            raise AnatomyError(
                f"the model has no table over tokens that could be told ({why})",
                where=type(model).__name__,
                hint='name the layers: tables=["path.of.the.embedding", …]',
            )
        return tables

    def _rows(self, tables: Sequence[Site], tokens: RowMap | None) -> int:
        sizes = {rows_of(table) for table in tables}
        if len(sizes) != 1:
            listed = ", ".join(f"{table.path} ({rows_of(table)})" for table in tables)
            raise AdaptError(f"tables over tokens of different sizes: {listed}", hint="name those: tables=")
        for name, value in (("vocabulary", self.size), ("pad_to_multiple", self.pad_to_multiple)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise AdaptError(f"{name} must be a whole number of at least 1, not {value!r}")
        if tokens is not None and self.size is not None and self.size < len(tokens.rows):
            raise AdaptError(f"vocabulary is {self.size}, but there are {len(tokens.rows)} tokens")
        rows = self.size or (len(tokens.rows) if tokens is not None else sizes.pop())
        multiple = self.pad_to_multiple or 1
        return math.ceil(rows / multiple) * multiple


def _resize(
    model: nn.Module, tables: Sequence[Site], size: int, tokens: RowMap | None, rules: ModeRules, edits: Edits
) -> bool:
    """Collect the edits that give every table `size` rows; tell whether there are any.

    A parameter that several layers hold stays one. Ids of tokens in the model's config follow the tokens.

    Args:
        model: The model.
        tables: Its tables over tokens, of one size.
        size: Rows wanted.
        tokens: Which of the present rows each new one is, if that is known.
        rules: How new rows are made.
        edits: Where the changes are collected.

    Raises:
        AdaptError: A table can't be changed so.
    """
    have = rows_of(tables[0])
    ops = {}
    for table in tables:
        change = Change((have,), (size,), "vocabulary", rules.of(f"{table.path}.weight"))
        mode = normal_vocabulary_mode(change.mode(Vocabulary.name, "mean-cov"))
        if mode == "own":
            raise AdaptError('mode "own" is for weights that go into a model which has rows of its own')
        if size < have and tokens is None:
            mode = "prefix"  # the user names the size: which tokens are meant is no question
        ops[table.path] = Vocabulary.of(tokens, have, size, mode=mode)
    op = ops[tables[0].path]
    if op.identity:
        return False
    _log.info("%s", op.describe())
    done: set[int] = set()
    for table in tables:
        layer = model.get_submodule(table.path)
        for name, old in _parameters(table, layer, have).items():
            if id(old) not in done:
                done.add(id(old))
                _exchange(model, old, ops[table.path].apply(old.detach()), edits)
            _log.debug("%s.%s: %d rows", table.path, name, size)
        edits.attribute(layer, "num_embeddings" if table.kind == "embedding" else "out_features", size)
        padding = getattr(layer, "padding_idx", None)
        if padding is not None:
            edits.attribute(layer, "padding_idx", _places(op).get(padding))
        mirror(model, table.path, VOCABULARY_NAMES, have, size, edits)
    for module, name, tensor in list(beside_tables(model, tables)):
        if isinstance(tensor, nn.Parameter) and id(tensor) not in done:
            done.add(id(tensor))
            _exchange(model, tensor, _last(op, tensor), edits)
        elif not isinstance(tensor, nn.Parameter):
            edits.attribute(module, name, _last(op.with_mode("zeros"), tensor))
    if tokens is not None:
        _follow(model, _places(op), edits)
    return True


def with_known_tokens(example: object, size: int) -> Any:
    """An example in which no token's number is beyond the vocabulary."""
    if isinstance(example, torch.Tensor):
        whole = not (example.is_floating_point() or example.is_complex() or example.dtype == torch.bool)
        return example.remainder(size) if whole else example
    if isinstance(example, Mapping):
        return {key: with_known_tokens(value, size) for key, value in example.items()}
    if isinstance(example, (tuple, list)):
        return tuple(with_known_tokens(value, size) for value in example)
    return example


def _parameters(table: Site, layer: nn.Module, have: int) -> dict[str, nn.Parameter]:
    own = dict(layer.named_parameters(recurse=False))
    if table.kind not in ("embedding", "linear") or "weight" not in own:
        raise AdaptError(
            "its vocabulary can't be changed: it is no embedding or Linear with a weight of its own",
            where=f"{table.path!r} ({type(layer).__name__})",
        )
    if any(parameter.shape[0] != have for parameter in own.values()):
        raise AdaptError("it holds parameters that are not a row a token", where=table.path)
    return own


def _exchange(model: nn.Module, old: nn.Parameter, value: torch.Tensor, edits: Edits) -> None:
    """Put one new parameter wherever the old one is held."""
    new: nn.Parameter | None = None
    for module in model.modules():
        for name, held in module.named_parameters(recurse=False, remove_duplicate=False):
            if held is old and new is None:
                new = edits.parameter(module, name, value)
            elif held is old:
                edits.attribute(module, name, new)


def _last(op: Vocabulary, tensor: torch.Tensor) -> torch.Tensor:
    """Other numbers of a tensor that has one a token in its last dimension."""
    return op.apply(tensor.detach().reshape(-1)).reshape(*tensor.shape[:-1], op.target)


def _places(op: Vocabulary) -> dict[int, int]:
    """The first new place of each old row."""
    return {old: new for new, old in reversed(list(enumerate(op.rows))) if old is not None}


def _follow(model: nn.Module, places: Mapping[int, int], edits: Edits) -> None:
    """Let `pad_token_id`, `eos_token_id` and the like stand for the same tokens."""
    for config in _configs(model):
        for name, value in list(vars(config).items()):
            if not name.endswith("token_id") or value is None:
                continue
            moved = [places.get(token) for token in (value if isinstance(value, list) else [value])]
            if None in moved:
                _log.warning("%s: the new vocabulary does not have token %s", name, value)
            elif moved != (value if isinstance(value, list) else [value]):
                edits.attribute(config, name, moved if isinstance(value, list) else moved[0])


def _configs(model: nn.Module) -> Iterator[Any]:
    if getattr(model, "config", None) is not None and hasattr(model.config, "__dict__"):
        yield from all_configs(model.config)
    if getattr(model, "generation_config", None) is not None:
        yield model.generation_config
