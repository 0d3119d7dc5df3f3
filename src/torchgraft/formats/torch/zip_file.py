"""`torch.save`'s format since PyTorch 1.6: a zip archive of a pickle and one entry for each storage."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Collection, Mapping, Sequence
from operator import attrgetter

from torchgraft.errors import CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats.archives.inflated import Inflated
from torchgraft.formats.archives.zip_directory import Entry
from torchgraft.formats.archives.zip_table import ZipTable
from torchgraft.formats.container import Container, ZipFormat
from torchgraft.formats.pickles import read_pickle
from torchgraft.formats.pickles.persistent import StorageId, storage_id
from torchgraft.formats.pickles.tensor_runs import TensorRuns
from torchgraft.formats.pickles.values import Nesting
from torchgraft.formats.stored_run import Form
from torchgraft.formats.stored_tensor import Storage
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.memory import MemoryFile
from torchgraft.storage.part import FilePart
from torchgraft.storage.prefetching import prefetched
from torchgraft.tensors import DTYPE_BITS

__all__ = ["TORCH_ZIP", "find_root", "read_archive", "read_archive_pickle"]

_TOP = Nesting()
_MAX_INFLATED_PICKLE = 1 << 19
_HONEST_RATIO = 16  # pickles of thousands of tensors deflate to a quarter, or to an eleventh in protocol 4


def _recognise(names: Collection[str]) -> bool:
    return any(_is_pickle(name) for name in names)


def read_archive(file: ByteFile, entries: Mapping[str, Entry], nesting: Nesting = _TOP) -> Container:
    """Open such an archive, which may itself be inside another file. Raises `CheckpointError`."""
    root = find_root(entries, file.name)
    tree = read_archive_pickle(file, entries, root, "data", nesting)
    return Container(file.name, file.path, "torch zip", tree)


def find_root(entries: Mapping[str, Entry], where: str) -> str:
    """The folder that all of the archive is in, with a slash at the end, or nothing."""
    pickles = [name for name in entries if name.endswith("data.pkl")]
    roots = [name.removesuffix("data.pkl") for name in pickles if _is_pickle(name) and name.count("/") < 2]
    if len(roots) != 1:
        raise CorruptCheckpointError(f"the archive has {len(roots)} data.pkl", where=where)
    return roots[0]


def read_archive_pickle(
    file: ByteFile, entries: Mapping[str, Entry], root: str, name: str, nesting: Nesting = _TOP
) -> object:
    """The data of the pickle `name.pkl`, whose storages are in the folder `name`."""
    pickle = entries[f"{root}{name}.pkl"]
    where = f"{file.name}: {pickle.name}"
    if pickle.deflated and pickle.size > max(_MAX_INFLATED_PICKLE, _HONEST_RATIO * pickle.stored):
        raise UnsafeCheckpointError("its pickle inflates to far more than a pickle would", where=file.name)
    order = entries.get(f"{root}byteorder")
    with prefetched(span for entry in (pickle, order) if entry for span in entry.spans(0, entry.stored)):
        content = pickle.view()
        swapped = order is not None and _is_swapped(order)
    data = bytes(content)
    # 0: the writer was told not to compute it (torch.utils.serialization.config.save.compute_crc32).
    if pickle.crc and zlib.crc32(data) != pickle.crc:
        raise CorruptCheckpointError(
            "its pickle is not what its checksum says",
            where=file.name,
            hint="download or save it again",
        )
    source: ByteFile = (
        MemoryFile(where, content)
        if pickle.deflated
        else FilePart(file, pickle.offset, pickle.size, pickle.name)
    )
    storages = _Storages(entries, f"{root}{name}/", nesting.prefix, swapped=swapped)
    tree, _ = read_pickle(
        data,
        where=where,
        persistent=storages.find,
        file=source,
        nesting=nesting,
        runs=TensorRuns(storages, data),
    )
    return tree


def _is_swapped(entry: Entry) -> bool:
    """Whether it was saved on a big-endian machine."""
    order = bytes(entry.view()[:16]).strip()
    if order not in (b"little", b"big"):
        raise CorruptCheckpointError(f"its byte order is {order!r}", where=f"{entry.file.name}: {entry.name}")
    return order == b"big"


def _is_pickle(name: str) -> bool:
    return name == "data.pkl" or name.endswith("/data.pkl")


class _Storages:
    """Looks up the storages that the pickle refers to."""

    def __init__(self, entries: Mapping[str, Entry], folder: str, prefix: str, *, swapped: bool) -> None:
        self._entries = entries
        self._folder = folder
        self._prefix = prefix
        self._swapped = swapped
        self._inflated = Inflated()
        self._known: dict[str, Storage] = {}
        self._unread: dict[str, Form] = {}
        self._runs: list[tuple[Sequence[str], Sequence[Form]]] = []
        self._not_met = 0
        """The number, in the directory, from which on no entry has been met."""

    def find(self, key: object) -> object:
        wanted = storage_id(key)
        if not isinstance(wanted, StorageId):
            return wanted
        return self._find(wanted)

    def _find(self, wanted: StorageId) -> Storage:
        known = self._known.get(wanted.key)
        if known is None:
            form = self._met_in_runs().get(wanted.key)
            if form is not None and (form.dtype, form.numel) != (wanted.dtype, wanted.numel):
                raise ValueError(f"storage {wanted.key[:100]!r} is described in two ways")
            known = self._storage(wanted)
            self._known[wanted.key] = known
        elif known.dtype != wanted.dtype or (wanted.is_known and known.nbytes != wanted.nbytes):
            raise ValueError(f"storage {wanted.key[:100]!r} is described in two ways")
        return known

    def label(self, keys: Sequence[str], forms: Sequence[Form]) -> tuple[str, str] | None:
        """See `RunStorages`: of storages that have not been met yet and are of the size they need."""
        folder, entries = self._folder, self._entries
        names = [folder + key for key in keys]
        numbers = entries.in_a_row(names) if isinstance(entries, ZipTable) else None
        if isinstance(entries, ZipTable) and numbers is not None and numbers.start >= self._not_met:
            sizes = entries.sizes_of(numbers)
            self._not_met = numbers.stop
        elif len({*keys}) < len(keys) or not (
            self._known.keys().isdisjoint(keys) and self._met_in_runs().keys().isdisjoint(keys)
        ):
            return None
        else:
            sizes = _sizes(entries, names)
            self._not_met = len(entries)
        if sizes != list(map(attrgetter("nbytes"), forms)):
            return None
        self._runs.append((keys, forms))
        return f"{entries[names[0]].file.name}: {folder}", f":{self._prefix}{folder}"

    def _met_in_runs(self) -> Mapping[str, Form]:
        for keys, forms in self._runs:
            self._unread.update(zip(keys, forms, strict=True))
        self._runs.clear()
        return self._unread

    def of_form(self, key: str, form: Form) -> Storage:
        """See `RunStorages`."""
        return self._find(StorageId(key, form.dtype, form.numel, None))

    def _storage(self, wanted: StorageId) -> Storage:
        entry = self._entries.get(self._folder + wanted.key)
        if entry is None:
            raise ValueError(f"storage {wanted.key[:100]!r} is not in the archive")
        if isinstance(self._entries, ZipTable):
            self._not_met = max(self._not_met, self._entries.number(entry.name) + 1)
        nbytes = wanted.nbytes if wanted.is_known else entry.size
        # More than is needed is no better than less: the numbers would be of another dtype.
        if wanted.is_known and not 0 <= entry.size - nbytes < DTYPE_BITS[wanted.dtype] // 8:
            raise ValueError(f"storage {wanted.key[:100]!r} needs {nbytes} bytes and has {entry.size}")
        load = functools.partial(self._inflated.view, entry) if entry.deflated else entry.view
        where = f"{entry.file.name}: {entry.name}"
        key = f"{self._prefix}{self._folder}{wanted.key}"
        return Storage(where, key, wanted.dtype, nbytes, load, self._swapped, entry.far)


def _sizes(entries: Mapping[str, Entry], names: Sequence[str]) -> list[int]:
    try:
        if isinstance(entries, ZipTable):
            return entries.sizes(names)
        return [entries[name].size for name in names]
    except KeyError:
        return []


TORCH_ZIP = ZipFormat("torch zip", _recognise, read_archive)
