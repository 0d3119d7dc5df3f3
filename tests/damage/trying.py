"""Opens a file, reads all of it and sees to it that nothing but one clear error comes of it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from torchgraft.checkpoint import Checkpoint
from torchgraft.errors import CheckpointError
from torchgraft.formats import read_container
from torchgraft.formats.container import Placeholder
from torchgraft.saving.tensor_bytes import tensor_bytes
from torchgraft.storage.remote_file import RemoteFile
from torchgraft.tensors import TensorRef

__all__ = ["Tried", "lay_down", "try_to_read"]

_SECONDS = 2.0  # of the processor
_MIB = 256
_WHOLE = 1 << 26
"""A tensor that repeats its bytes may honestly be larger than its file; of one this large a part is read."""

Value = tuple[str, tuple[int, ...], bytes]


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of it.

    Attributes:
        values: Dtype, shape and bytes of each tensor, by its path in the tree; `None` if it did not open.
        refused: How many tensors could not be read.
    """

    values: Mapping[str, Value] | None
    refused: int = 0


class _Ranges:
    """A file as one that is far away."""

    def __init__(self, place: Path) -> None:
        self._content = place.read_bytes()
        self.name, self.size = str(place), len(self._content)

    def read_into(self, offset: int, into: memoryview) -> None:
        into[:] = self._content[offset : offset + len(into)]

    def check(self) -> None:
        """Nothing changes it meanwhile."""


class TooMuch(BaseException):
    """Time or memory; no `Exception`, so that nothing takes it for one of a damaged file."""


def lay_down(files: Mapping[str, bytes], folder: Path) -> None:
    """Write the files, and remove what was there."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        if old.name not in files:
            old.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)


def try_to_read(place: Path, *, verify: bool = False, far: bool = False) -> Tried:
    """Open it and read each tensor and a slice of it.

    Args:
        place: The file or folder.
        verify: As `open` takes it.
        far: Read the file as one that is far away.

    Raises:
        AssertionError: A tensor is not what it says, or an error lacks the file or the next step.
        TooMuch: It takes more than 2 seconds or 256 MiB.
        Exception: Anything else that is not a `CheckpointError`.
    """
    with _limits():
        try:
            given = RemoteFile(_Ranges(place)) if far else place
            container = read_container(given, verify=verify)
        except CheckpointError as error:
            _check(error, place)
            return Tried(None)
        try:
            str(Checkpoint.from_container(container))
        except CheckpointError as error:
            _check(error, place)
        values: dict[str, Value] = {}
        refused = 0
        for path, ref in _tensors(container.tree):
            try:
                values[path] = _read(ref)
            except CheckpointError as error:
                _check(error, place)
                refused += 1
        return Tried(values, refused)


def _check(error: CheckpointError, place: Path) -> None:
    files = [place] if place.is_dir() else [place, *place.parent.iterdir()]  # an index names other files
    assert any(str(file) in str(error) for file in files), f"the message does not name the file: {error}"
    assert error.hint, f"the message does not say what to do: {error}"
    assert len(str(error)) < 2000, "the message is short"


def _read(ref: TensorRef) -> Value:
    shape = torch.Size(ref.shape)
    if ref.nbytes > _WHOLE:
        assert ref.read((0,) * len(shape)).shape == ()
        return ref.dtype, ref.shape, b""
    whole = ref.read()
    assert (str(whole.dtype), whole.shape) == (f"torch.{ref.dtype}", shape), "as it is declared"
    if ref.is_sparse:  # PyTorch trusts its indices
        return ref.dtype, ref.shape, _bytes(whole.to_dense()) if whole.numel() < _WHOLE else b""
    if shape:
        assert _bytes(ref[-1:]) == _bytes(whole[-1:]), "a slice of it is its slice"
    raw = _bytes(whole)
    if not whole.is_quantized:
        assert b"".join(tensor_bytes(ref)) == raw, "it is written as it is read"
    return ref.dtype, ref.shape, raw


def _bytes(tensor: torch.Tensor) -> bytes:
    if tensor.is_quantized:
        tensor.dequantize()  # PyTorch rounds in another way where a slice is of one channel
        return _bytes(tensor.int_repr())
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous()
    flat = plain.as_strided((plain.numel(),), (1,))  # a single element may have any stride
    return bytes(flat.view(torch.uint8).numpy())


def _tensors(tree: object) -> Iterator[tuple[str, TensorRef]]:
    """Each tensor with the path to it; a tree may be deep and hold itself."""
    seen: set[int] = set()
    stack: list[tuple[str, object]] = [("", tree)]
    while stack:
        path, node = stack.pop()
        if isinstance(node, TensorRef):
            yield path, node
            continue
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, dict):
            stack += [(f"{path}/{_name(key)}", value) for key, value in node.items()]
            stack += [
                (f"{path}/key {place}", key) for place, key in enumerate(node) if not isinstance(key, str)
            ]
        elif isinstance(node, (list, tuple, set, frozenset)):
            stack += [(f"{path}/{place}", value) for place, value in enumerate(node)]
        elif isinstance(node, Placeholder):
            stack += [
                (f"{path}/args", node.args),
                (f"{path}/state", node.state),
                (f"{path}/items", node.items),
            ]


def _name(key: object) -> str:
    return str(key) if isinstance(key, (str, int, float)) else type(key).__name__


@contextmanager
def _limits() -> Iterator[None]:
    """At most 2 seconds of the processor and 256 MiB more than before."""

    def stop(_signal: int, _frame: object) -> None:
        raise TooMuch(f"over {_SECONDS} seconds of the processor")

    old = signal.signal(signal.SIGPROF, stop)
    before = _peak(start=True)
    signal.setitimer(signal.ITIMER_PROF, _SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)
    grown = _peak() - before
    if grown > _MIB << 20:
        raise TooMuch(f"{grown >> 20} MiB of memory")


def _peak(*, start: bool = False) -> int:
    """The most memory that this process has had since a start, in bytes; mapped files are small here."""
    if sys.platform != "linux":
        return 0
    if start:
        Path("/proc/self/clear_refs").write_text("5")
    text = Path("/proc/self/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) << 10
