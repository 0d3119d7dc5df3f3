"""The pickle machine: reads protocols 0 to 5 as data. It imports nothing and calls nothing a file names."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from torchgraft.errors import CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats.pickles.memo import Memo
from torchgraft.formats.pickles.values import Blob, Budget, Nesting, apply_call
from torchgraft.storage.byte_file import ByteFile, ByteSource
from torchgraft.tensors import TensorRef

if TYPE_CHECKING:
    from torchgraft.formats.pickles.tensor_runs import TensorRuns

__all__ = ["Machine", "read_pickle"]

_TOP = Nesting()
_MAX_MARKS = 10_000
_BLOB = 4096
"""Bytes of this length or more stay in the file; less is not worth keeping track of."""

_MISFITS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
"""What Python raises when an opcode finds the wrong thing on the stack, in the memo or in its argument."""


def read_pickle(
    data: ByteSource,
    *,
    where: str,
    start: int = 0,
    persistent: Callable[[object], object] | None = None,
    file: ByteFile | None = None,
    nesting: Nesting = _TOP,
    runs: TensorRuns | None = None,
) -> tuple[object, int]:
    """Read one pickle as plain data.

    Args:
        data: The bytes it is in.
        where: The file and the entry, for messages.
        start: Where it begins.
        persistent: What a persistent id stands for; `None` refuses them.
        file: The file whose bytes `data` are, when long bytes are to stay in it.
        nesting: Where the pickle stands, if it is inside another.
        runs: Reads many tensors at a time, where the pickle is one of tensors.

    Returns:
        The data, and where the pickle ends.

    Raises:
        CorruptCheckpointError: It breaks off or makes no sense.
        UnsafeCheckpointError: It asks for more work or depth than an honest file of its size.
    """
    return Machine(data, where, start, persistent, file, nesting, runs).run()


class Machine:
    """The state of one reading: a stack, marks in it, and a memo. The opcodes are in `opcodes.py`."""

    __slots__ = ("budget", "data", "file", "marks", "memo", "persistent", "runs", "stack", "start", "where")

    def __init__(
        self,
        data: ByteSource,
        where: str,
        start: int,
        persistent: Callable[[object], object] | None,
        file: ByteFile | None,
        nesting: Nesting,
        runs: TensorRuns | None = None,
    ) -> None:
        self.data = data
        self.where = where
        self.start = start
        self.persistent = persistent
        self.file = file
        self.runs = runs
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo = Memo()
        self.budget = Budget(len(data) - start, where, nesting)

    def run(self) -> tuple[object, int]:
        """See `read_pickle`."""
        position = [self.start]
        try:
            return self._loop(position)
        except _MISFITS as error:
            at = position[0]
            opcode = bytes(self.data[at : at + 1])
            text = (
                "it breaks off"
                if at >= len(self.data) - 1
                else f"opcode {opcode!r} can't be carried out: {str(error)[:200]}"
            )
            raise CorruptCheckpointError(
                f"the pickle is damaged at byte {at}: {text}",
                where=self.where,
                hint="download or save it again",
            ) from error

    def _loop(self, position: list[int]) -> tuple[object, int]:
        """The opcodes that make up most of a checkpoint are inline; the others are looked up."""
        from torchgraft.formats.pickles.opcodes import HANDLERS

        data, stack, marks, memo = self.data, self.stack, self.marks, self.memo
        persistent, budget, size, push = self.persistent, self.budget, len(self.data), stack.append
        runs = self.runs
        at = self.start
        try:
            while True:
                opcode = data[at]
                if opcode >= 0x80:
                    if opcode == 0x94:  # MEMOIZE
                        hidden = memo.hidden
                        memo[memo.next_number() if hidden is None else len(memo) + hidden] = stack[-1]
                        at += 1
                    elif opcode == 0x8C:  # SHORT_BINUNICODE
                        end = at + 2 + data[at + 1]
                        if end > size:
                            raise IndexError(f"a text of {end - at - 2} bytes is announced")
                        push(data[at + 2 : end].decode("utf-8", "surrogatepass"))
                        at = end
                    elif opcode == 0x85:  # TUPLE1
                        stack[-1] = (stack[-1],)
                        at += 1
                    elif opcode == 0x86:  # TUPLE2
                        last = stack.pop()
                        stack[-1] = (stack[-1], last)
                        at += 1
                    elif opcode == 0x81:  # NEWOBJ, as data the same as REDUCE
                        args = stack.pop()
                        stack[-1] = apply_call(stack[-1], args, budget)
                        at += 1
                    elif opcode == 0x89:  # NEWFALSE
                        push(False)
                        at += 1
                    else:
                        at = HANDLERS[opcode](self, at + 1)
                elif opcode >= 0x60:
                    if opcode == 0x72:  # LONG_BINPUT
                        memo[int.from_bytes(data[at + 1 : at + 5], "little")] = stack[-1]
                        at += 5
                    elif opcode == 0x6A:  # LONG_BINGET
                        push(memo[int.from_bytes(data[at + 1 : at + 5], "little")])
                        at += 5
                    elif opcode == 0x68:  # BINGET
                        push(memo[data[at + 1]])
                        at += 2
                    elif opcode == 0x71:  # BINPUT
                        memo[data[at + 1]] = stack[-1]
                        at += 2
                    elif opcode == 0x74:  # TUPLE
                        mark = marks.pop()
                        items = tuple(stack[mark:])
                        del stack[mark:]
                        push(items)
                        at += 1
                    elif opcode == 0x7D:  # EMPTY_DICT
                        push({})
                        at += 1
                    else:
                        at = HANDLERS[opcode](self, at + 1)
                elif opcode == 0x28:  # MARK
                    marks.append(len(stack))
                    if len(marks) > _MAX_MARKS:
                        raise UnsafeCheckpointError(
                            f"it is nested {_MAX_MARKS:,} levels deep", where=self.where
                        )
                    at += 1
                elif opcode == 0x58:  # BINUNICODE
                    begin = at + 5
                    end = begin + int.from_bytes(data[at + 1 : begin], "little")
                    if end > size:
                        raise IndexError(f"a text of {end - begin} bytes is announced")
                    push(data[begin:end].decode("utf-8", "surrogatepass"))
                    at = end
                elif opcode == 0x4B:  # BININT1
                    push(data[at + 1])
                    at += 2
                elif opcode == 0x52:  # REDUCE
                    args = stack.pop()
                    made = stack[-1] = apply_call(stack[-1], args, budget)
                    at += 1
                    if runs is not None and type(made) is TensorRef:
                        at = runs.read(self, at)
                        memo = self.memo
                elif opcode == 0x29:  # EMPTY_TUPLE
                    push(())
                    at += 1
                elif opcode == 0x51:  # BINPERSID
                    if persistent is None:
                        raise ValueError("it refers to something outside itself")
                    stack[-1] = persistent(stack[-1])
                    at += 1
                elif opcode == 0x2E:  # STOP
                    return stack.pop(), at + 1
                else:
                    at = HANDLERS[opcode](self, at + 1)
        finally:
            position[0] = at

    def pop_mark(self) -> list[object]:
        """Everything above the last mark."""
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def take(self, at: int, length: int) -> bytes:
        """`length` bytes of the pickle. Raises `IndexError` when it ends before."""
        if length < 0 or at + length > len(self.data):
            raise IndexError(f"{length} bytes are announced")
        return self.data[at : at + length]

    def blob(self, at: int, length: int) -> Blob | None:
        """The same, left in the file; `None` for a few bytes, and where there is no file."""
        if self.file is None or length < _BLOB or at + length > len(self.data):
            return None
        return Blob(self.file, at, length)

    def line(self, at: int) -> tuple[bytes, int]:
        """The text up to the next line break, and where the next opcode is."""
        end = self.data.find(b"\n", at)
        if end < 0:
            raise IndexError("a line without an end")
        return self.data[at:end], end + 1
