"""Runs of tensors in a pickle, read many at a time.

Most of a checkpoint's pickle is one short piece over and over: a name, then what `torch.save` writes for a
tensor. Carried out opcode by opcode, 100,000 of them take seconds. Here a regular expression recognises them,
with the very numbers under which this pickle keeps what they have in common; what they put aside for later
(the memo) is made when it is asked for. Whatever is written in another way, or does not fit, is left to the
machine, which then says what is wrong.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, takewhile
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol, TypeAlias

from torchgraft.errors import CheckpointError
from torchgraft.formats.pickles.dtypes import storage_dtype
from torchgraft.formats.pickles.memo import Memo
from torchgraft.formats.pickles.stack_opcodes import set_items
from torchgraft.formats.pickles.tensor_patterns import Common, find_common, read_number, read_sizes
from torchgraft.formats.pickles.values import Global
from torchgraft.formats.stored_run import Form, StoredRef, stored_run
from torchgraft.formats.stored_tensor import Storage
from torchgraft.tensors import DTYPE_BITS

if TYPE_CHECKING:
    from torchgraft.formats.pickles.machine import Machine

__all__ = ["RunStorages", "TensorRuns"]

_AT_ONCE = 1024
_LEAST = 4
_WORTH_WHILE = 1 << 14
"""Fewer bytes, some 150 tensors, are carried out before the expressions have been compiled."""
_MAX_PATTERNS = 16
_MAX_NUMEL = 1 << 62
_REBUILD, _HOOKS = "torch._utils._rebuild_tensor_v2", "collections.OrderedDict"

Entry: TypeAlias = "re.Match[bytes]"


class RunStorages(Protocol):
    """The storages that a run of tensors looks into."""

    def label(self, keys: Sequence[str], forms: Sequence[Form]) -> tuple[str, str] | None:
        """What `stored_run` wants to know of them; `None` if they are to be looked at one by one."""
        ...

    def of_form(self, key: str, form: Form) -> Storage:
        """One of those that there is a label of."""
        ...


class TensorRuns:
    """Reads runs of tensors where the machine has come upon one.

    Args:
        storages: The storages that the pickle refers to.
        data: The pickle: bytes, or a file that is mapped.
    """

    def __init__(self, storages: RunStorages, data: bytes | mmap.mmap) -> None:
        self._storages = storages
        self._data = data
        self._patterns: dict[Common, re.Pattern[bytes]] = {}
        self._not_before = 0

    def read(self, machine: Machine, at: int) -> int:
        """Carry out the tensors from `at` on, which is right after one; where the machine is to go on."""
        if at < self._not_before or len(self._data) - at < _WORTH_WHILE:
            return at
        common = find_common(self._data, at)
        if common is None or not _is_meant(common, machine.memo):
            return at
        pattern = self._patterns.get(common)
        if pattern is None:
            if len(self._patterns) == _MAX_PATTERNS:
                return at
            pattern = self._patterns[common] = common.pattern()
        run = _Run(self._data, common, self._storages, machine)
        entries = takewhile(attrgetter("lastindex"), pattern.finditer(self._data, at))
        while chunk := list(islice(entries, _AT_ONCE)):
            if (len(chunk) < _LEAST and not run.refs) or not run.add(chunk):
                self._not_before = chunk[-1].end()
                break
        return run.finish() if run.refs else at


def _is_meant(common: Common, memo: Memo) -> bool:
    """Whether those numbers of the memo are what they would be in a state dict."""
    if memo.mixed:
        return False
    if common.memoize and (memo.hidden is None or max(memo, default=-1) >= len(memo) + memo.hidden):
        return False  # next numbers that are not new
    rebuild, word, device, hooks = (memo.get(_index(get)) for get in common[:4])
    return (
        isinstance(rebuild, Global)
        and rebuild.name == _REBUILD
        and word == "storage"
        and type(device) is str
        and isinstance(hooks, Global)
        and hooks.name == _HOOKS
    )


class _Run:
    """One run, as far as it has been carried out.

    Attributes:
        refs: Its tensors.
    """

    def __init__(
        self, data: bytes | mmap.mmap, common: Common, storages: RunStorages, machine: Machine
    ) -> None:
        self._data = data
        self._common = common
        self._storages = storages
        self._machine = machine
        self._previous = machine.stack[-1]
        self._begin = self._end = -1
        self._forms: dict[tuple[bytes, ...], Form] = {}
        self._puts = 0
        self.refs: list[StoredRef] = []

    def add(self, chunk: Sequence[Entry]) -> bool:
        """Carry out some entries: all of them, or none where something doesn't fit."""
        ends, lengths, raw_names, classes, key_lengths, raw_keys, *rest = zip(
            *map(re.Match.groups, chunk), strict=True
        )
        if b"".join(lengths) != bytes(map(len, raw_names)) or b"".join(key_lengths) != bytes(
            map(len, raw_keys)
        ):
            return False
        codes = list(zip(classes, *rest, strict=True))
        try:
            for code in set(codes).difference(self._forms):
                self._forms[code] = self._form(*code)
        except (CheckpointError, LookupError, ValueError):
            return False
        begin, end = chunk[0].start(), chunk[-1].end()
        if not self._common.memoize and any(
            self._data.find(b"r" + get[1:], begin, end) >= 0 for get in self._long_gets()
        ):
            return False  # something else may be put there
        forms = list(map(self._forms.__getitem__, codes))
        keys = b" ".join(raw_keys).decode("ascii").split(" ")
        names = b" ".join(raw_names).decode("ascii").split(" ")
        last = len(ends) - 1 - ends[::-1].index(b"u(") if b"u(" in ends else None
        if last is not None and not self._fills_dict():
            return False
        label = self._storages.label(keys, forms)
        if label is None:
            return False
        refs = stored_run(names, keys, forms, label)
        self._place(names, refs, last)
        self._puts += 8 * len(chunk) - rest[2].count(b")") - rest[3].count(b")")
        self.refs += refs
        self._begin, self._end = self._begin if self._begin >= 0 else begin, end
        return True

    def finish(self) -> int:
        """Tell the memo, and where the run ends."""
        machine, common = self._machine, self._common
        if common.memoize:
            first = len(machine.memo) + (machine.memo.hidden or 0)
            machine.memo.numbered_on(
                lambda memo: memo.update(enumerate(self._put_aside(), first)), self._puts
            )
        else:
            kept = {_index(get) for get in self._long_gets()}
            machine.memo = machine.memo.covered(lambda memo: memo.update(self._numbered()), kept)
        return self._end

    def _form(self, cls: bytes, numel: bytes, offset: bytes, shape: bytes, stride: bytes) -> Form:
        dtype = storage_dtype(self._machine.memo[_index(cls)])
        elements = read_number(numel)
        if dtype not in DTYPE_BITS or dtype.startswith("q") or elements < 0:
            raise ValueError(dtype)
        find = self._storages.of_form
        return Form.checked(dtype, elements, read_number(offset), read_sizes(shape), read_sizes(stride), find)

    def _long_gets(self) -> set[bytes]:
        """What is got from the memo by numbers that something might be put under meanwhile."""
        return {get for get in (*self._common[:4], *(code[0] for code in self._forms)) if get[0] == 0x6A}

    def _fills_dict(self) -> bool:
        """Whether what is above the last mark are keys and values of a dict below it."""
        stack, marks = self._machine.stack, self._machine.marks
        return bool(marks) and marks[-1] > 0 and type(stack[marks[-1] - 1]) is dict

    def _place(self, names: Sequence[str], refs: Sequence[StoredRef], last: int | None) -> None:
        """Put them on the stack; those before the last end of a batch into the dict instead."""
        stack = self._machine.stack
        if last is not None:
            mark = self._machine.marks[-1]
            target = stack[mark - 1]
            assert isinstance(target, dict)
            set_items(self._machine, target, stack[mark:])
            del stack[mark:]
            target.update(zip(names[:last], refs[:last], strict=True))
            names, refs = names[last:], refs[last:]
        stack.extend(chain.from_iterable(zip(names, refs, strict=True)))

    def _entries(self) -> Iterator[tuple[Entry, object, StoredRef]]:
        """Each entry again, the tensor that it puts aside and the one that it makes."""
        pattern = self._common.pattern_of_puts()
        made: Iterable[object] = chain([self._previous], self.refs)
        entries = pattern.finditer(self._data, self._begin, self._end)
        return zip(entries, made, self.refs, strict=False)

    def _put_aside(self) -> Iterator[object]:
        """What the entries put aside, in this order."""
        memo = self._machine.memo
        for entry, previous, ref in self._entries():
            form = ref.form
            storage = form.find(ref.key, form)
            what = memo.get(_index(entry[6]))
            legacy = (None,) if self._data[entry.end(10)] == 0x4E else ()
            yield previous
            yield ref.name
            yield ref.key
            yield ("storage", what, ref.key, memo.get(_index(self._common.device)), form.numel, *legacy)
            hooks: dict[str, object] = {}
            yield from filter(None, (form.shape, form.stride))
            yield hooks
            yield (storage, form.offset, form.shape, form.stride, False, hooks)

    def _numbered(self) -> Iterator[tuple[int, object]]:
        """The same with the numbers that they are put under."""
        numbers = (
            int.from_bytes(number, "little")
            for entry, _, _ in self._entries()
            for number in entry.group(1, 5, 9, 11, 14, 16, 17, 18)
            if number is not None
        )
        return zip(numbers, self._put_aside(), strict=True)


def _index(get: bytes) -> int:
    """The number that BINGET and LONG_BINGET get."""
    return int.from_bytes(get[1:], "little")
