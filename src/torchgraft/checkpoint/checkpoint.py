"""The checkpoint itself: lazy tensors by name, and the rest of the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import cache
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from torchgraft.checkpoint.at_hand import at_hand
from torchgraft.checkpoint.choosing import choose_part, find_part
from torchgraft.checkpoint.finding import Found, find_sets
from torchgraft.checkpoint.optimizers import find_optimizers
from torchgraft.checkpoint.parts import Part, TensorSet, classify
from torchgraft.checkpoint.rest import plain
from torchgraft.errors import CheckpointError
from torchgraft.formats.container import Container
from torchgraft.storage.prefetching import prefetched
from torchgraft.tensors import Index, Span, TensorRef

if TYPE_CHECKING:
    import torch

__all__ = ["Checkpoint"]


class Checkpoint(Mapping[str, TensorRef]):
    """The weights of a file, not read yet, by the names the file gives them; nothing is stripped.

    Attributes:
        name: Where the weights are from: a path, an address without secrets, or "weights in memory".
        path: The file on this machine, if they are from one.
        format: The container's name, such as `"safetensors"`; empty in memory.
        part: Which part of the file was taken as the weights: its path, empty for the root.
        parts: Every set of tensors in the file, and what it looks like.
        why: Why this part was taken.
        metadata: The rest of the file as plain data; a word stands for each tensor.
        classes: Names of unknown classes that the file mentions. None of them was imported.
    """

    def __init__(
        self,
        tensors: Mapping[str, TensorRef],
        *,
        path: Path | None = None,
        format: str = "",  # noqa: A002 (the attribute's name)
        part: str = "",
        parts: Sequence[Part] = (),
        why: str = "",
        metadata: Mapping[str, object] | None = None,
        classes: Sequence[str] = (),
        container: Container | None = None,
        name: str | None = None,
    ) -> None:
        self._tensors = dict(tensors)
        if list(map(attrgetter("name"), tensors.values())) != list(tensors):
            for key, ref in tensors.items():
                if ref.name != key:
                    self._tensors[key] = replace(ref, name=key)
        self.name = name or (str(path) if path else "weights in memory")
        self.path = path
        self.format = format
        self.part = part
        self.parts = tuple(parts)
        self.why = why
        self.metadata: Mapping[str, object] = dict(metadata or {})
        self.classes = tuple(classes)
        self._container = container

    @classmethod
    def from_container(cls, container: Container, select: str | None = None) -> Checkpoint:
        """Find the weights in an opened file; see `torchgraft.open`."""
        found = find_sets(container.tree, where=container.name)
        where = container.name
        parts = classify(found.sets)
        if select == ".":
            chosen, why = _together(found), "all sets together, as asked"
        elif select is not None:
            part, why = find_part(parts, select, where=where)
            chosen = found.sets[parts.index(part)]
        else:
            part, why = choose_part(parts, where=where)
            chosen = found.sets[parts.index(part)]
        rest = plain(container.tree, found.owned)
        metadata = rest if isinstance(rest, dict) else {}
        return cls(
            chosen.tensors,
            path=container.path,
            format=container.format,
            part=chosen.path,
            parts=parts,
            why=why,
            metadata={**container.metadata, **metadata},
            classes=tuple(found.classes),
            container=container,
            name=container.name,
        )

    @classmethod
    def from_state_dict(cls, tensors: Mapping[str, torch.Tensor]) -> Checkpoint:
        """Weights that are in memory already.

        Raises:
            CheckpointError: A tensor is sparse, or has no shape yet.
        """
        return cls({key: _in_memory(key, tensor) for key, tensor in tensors.items()})

    def holding(self, tensors: Mapping[str, TensorRef]) -> Checkpoint:
        """The same checkpoint with these tensors in place of its own, such as dequantised ones."""
        other = copy(self)
        other._tensors = dict(tensors)  # noqa: SLF001 (of its own class)
        return other

    def select(self, part: str) -> Checkpoint:
        """Another part of the same file as the weights, by its path or the end of it.

        Raises:
            NoWeightsError: There is no such part.
        """
        if self._container is None:
            raise CheckpointError("weights in memory have one part only")
        return Checkpoint.from_container(self._container, part)

    @property
    def optimizers(self) -> Mapping[str, Mapping[str, object]]:
        """States of optimizers in the same file by their paths, as `state_dict()` gave them, tensors lazy."""
        return find_optimizers(self._container.tree) if self._container is not None else {}

    def forget(self) -> None:
        """Let the system have back the memory of what was read from the file, until it is read again.

        Views of tensors stay what they are, but what was written into one is lost: it shows the file again.
        """
        if self._container is not None:
            self._container.forget()

    @contextmanager
    def prefetch(self, keys: Iterable[str], parts: Iterable[Span] = ()) -> Iterator[None]:
        """Within the block, the bytes of these tensors of a remote file are at hand.

        They come in few requests, several at once, and are let go when the block and what was read in it
        is. Tensors on this machine take no notice.

        Args:
            keys: Tensors that are wanted whole.
            parts: Further bytes, of tensors of which only parts are.

        Raises:
            FetchError: They can't be had.
        """
        with prefetched(chain((span for key in keys for span in self[key].spans()), parts)):
            yield

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Read everything. Tensors that are tied in the file are one tensor here too."""
        tensors: dict[str, torch.Tensor] = {}
        tied: dict[str, torch.Tensor] = {}
        for key, ref in at_hand(self.items()):
            tensor = tied.get(ref.alias) if ref.alias else None
            tensors[key] = ref.read() if tensor is None else tensor
            if ref.alias:
                tied[ref.alias] = tensors[key]
        return tensors

    def __getitem__(self, key: str) -> TensorRef:
        return self._tensors[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def values(self) -> ValuesView[TensorRef]:
        """The tensors, in the file's order."""
        return self._tensors.values()

    def items(self) -> ItemsView[str, TensorRef]:
        """Names and tensors, in the file's order."""
        return self._tensors.items()

    def __len__(self) -> int:
        return len(self._tensors)

    def __repr__(self) -> str:
        return f"<Checkpoint {self.name}: {len(self)} tensors>"

    def __str__(self) -> str:
        dtypes = Counter(ref.dtype for ref in self.values())
        numel = sum(ref.numel for ref in self.values())
        lines = [
            self.name + (f" ({self.format})" if self.format else ""),
            f"  weights: {self.part or 'the root'}, {self.why}" if self.why else "  weights",
            f"  {len(self)} tensors, {numel:,} elements, " + ", ".join(f"{n} {d}" for d, n in dtypes.items()),
        ]
        lines += [
            f"  also: {part.name or 'the root'}: {part.kind}, {part.tensors} tensors ({part.why})"
            for part in self.parts
            if part.name != self.part
        ]
        simple = {key: value for key, value in self.metadata.items() if isinstance(value, (int, float, str))}
        lines += [f"  {key}: {str(value)[:80]}" for key, value in list(simple.items())[:8]]
        if self.classes:
            lines.append(f"  classes named, none run: {', '.join(self.classes[:6])}")
        return "\n".join(lines)


def _together(found: Found) -> TensorSet:
    return TensorSet(
        "",
        {
            f"{part.path}.{key}" if part.path else key: ref
            for part in found.sets
            if not part.per_parameter
            for key, ref in part.tensors.items()
        },
    )


def _in_memory(key: str, tensor: torch.Tensor) -> TensorRef:
    import torch
    from torch.nn.parameter import is_lazy

    if is_lazy(tensor):
        raise CheckpointError("has no shape yet (a lazy module's)", where=key, hint="run that model once")
    if tensor.layout != torch.strided:
        raise CheckpointError(
            f"is a sparse tensor ({tensor.layout})", where=key, hint="give it as a dense one: .to_dense()"
        )
    detached = tensor.detach()

    def fetch(index: Index) -> torch.Tensor:
        return detached[index]

    shape, dtype = tuple(tensor.shape), _name_of(tensor.dtype)
    alias = None
    if detached.numel() and not detached.is_meta:
        alias = f"{detached.data_ptr()}:{shape}:{detached.stride()}:{dtype}:{detached.device}"
    return TensorRef(key, shape, dtype, fetch=fetch, alias=alias)


@cache
def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
