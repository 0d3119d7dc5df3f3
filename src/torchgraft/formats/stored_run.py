"""Thousands of stored tensors made together: what tells them apart at once, the rest when it is asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from operator import attrgetter
from typing import NamedTuple

from torchgraft.formats.stored_tensor import Storage, stored_tensor
from torchgraft.tensors import DTYPE_BITS, TensorRef

__all__ = ["Form", "StoredRef", "stored_run"]


class Form(NamedTuple):
    """How a tensor looks into its storage: what many tensors of a checkpoint have in common.

    Attributes:
        dtype: That of the storage and of the tensor.
        numel: Elements of the storage.
        offset: Of the tensor's first element, in elements.
        shape: Its shape.
        stride: Steps along each dimension, in elements.
        nbytes: Bytes of the storage.
        ending: What `TensorRef.alias` ends with.
        find: Gives the storage of a key, of a tensor of this form.
    """

    dtype: str
    numel: int
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    nbytes: int
    ending: str | None
    find: Callable[[str, Form], Storage]

    @classmethod
    def checked(
        cls,
        dtype: str,
        numel: int,
        offset: int,
        shape: tuple[int, ...],
        stride: tuple[int, ...],
        find: Callable[[str, Form], Storage],
    ) -> Form:
        """The form, when a tensor of it lies within its storage; raises what `stored_tensor` raises."""
        nbytes = numel * DTYPE_BITS[dtype] // 8
        storage = Storage("", "", dtype, nbytes, lambda: memoryview(b""))
        alias = stored_tensor(storage, dtype, offset, shape, stride).alias
        return cls(dtype, numel, offset, shape, stride, nbytes, alias and alias.removeprefix(":"), find)


class StoredRef(TensorRef):
    """A `TensorRef` that asks for its storage when it is read.

    Attributes:
        key: The storage's key.
        form: How the tensor looks into it.
    """

    __slots__ = ("form", "key")

    key: str
    form: Form

    def __new__(cls, *args: object, **fields: object) -> TensorRef:  # type: ignore[misc]
        """Made of its fields, as `dataclasses.replace` does, it is a plain one."""
        return TensorRef(*args, **fields)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> object:
        """Reached only for what has not been filled in yet."""
        if name not in ("fetch", "spans"):
            raise AttributeError(name)
        form = self.form
        storage = form.find(self.key, form)
        plain = stored_tensor(storage, form.dtype, form.offset, form.shape, form.stride)
        for field in ("fetch", "spans"):
            object.__setattr__(self, field, getattr(plain, field))
        return getattr(plain, name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TensorRef):
            return NotImplemented
        return all(
            getattr(self, field) == getattr(other, field)
            for field in ("name", "shape", "dtype", "alias", "layout")
        )

    __hash__ = TensorRef.__hash__


def stored_run(
    names: Sequence[str], keys: Sequence[str], forms: Sequence[Form], label: tuple[str, str]
) -> list[StoredRef]:
    """One tensor for each name.

    They are filled in by the slots' own setters, without a line of Python for each: that is what 100,000
    tensors take most of the time with.

    Args:
        names: Their names.
        keys: Their storages' keys.
        forms: How each looks into its storage.
        label: What `where` and `key` of each storage, with a colon between them, have before its key in each.
    """
    refs: list[StoredRef] = list(map(object.__new__, repeat(StoredRef, len(names))))
    before, between = label
    aliases = [
        None if ending is None else f"{before}{key}{between}{key}{ending}"
        for key, ending in zip(keys, map(attrgetter("ending"), forms), strict=True)
    ]
    columns: dict[str, Iterable[object]] = {
        "name": names,
        "shape": map(attrgetter("shape"), forms),
        "dtype": map(attrgetter("dtype"), forms),
        "alias": aliases,
        "layout": repeat(""),
        "key": keys,
        "form": forms,
    }
    for slot, values in columns.items():
        deque(map(getattr(StoredRef, slot).__set__, refs, values), maxlen=0)
    return refs
