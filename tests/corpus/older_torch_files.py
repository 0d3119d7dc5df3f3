"""`torch.save`'s older formats: five pickles with the storages behind them, and a tar archive before that."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
from typing import Any

import torch

from corpus.hostile_pickles import CALLS, call, colliding_tuples, dict_with, text
from corpus.items import Bad, Inert, Item, Make, Odd, Site, Values, file
from corpus.zip_pickles import all_dtypes, loaded, quantised, saved, shared, sparse, views

STORAGES = {
    "float64": "DoubleStorage", "float32": "FloatStorage", "float16": "HalfStorage", "bool": "BoolStorage",
    "bfloat16": "BFloat16Storage", "complex128": "ComplexDoubleStorage", "complex64": "ComplexFloatStorage",
    "int64": "LongStorage", "int32": "IntStorage", "int16": "ShortStorage", "int8": "CharStorage",
    "uint8": "ByteStorage",
}  # fmt: skip
"""Storage classes of the dtypes that the format has a class for."""

PART = ("part", 1, 4)
"""A storage that is a part of another: its key, offset and size."""


class Storage:
    """Stands for a storage in a pickle."""

    def __init__(self, view: object = None, *, key: str = "k", numel: int = 6) -> None:
        self.key = ("storage", torch.FloatStorage, key, "cpu", numel, view)


class Tensor:
    def __init__(self, storage: Storage, offset: int = 0, size: int = 4) -> None:
        self.args = (storage, offset, (size,), (1,))

    def __reduce__(self) -> tuple[object, object]:
        return torch._utils._rebuild_tensor, self.args


class Kept:
    """Stands for what a tar archive keeps elsewhere."""

    def __init__(self, key: object) -> None:
        self.key = key


class Pickler(pickle.Pickler):
    def persistent_id(self, obj: object) -> object:
        return obj.key if isinstance(obj, (Storage, Kept)) else None


def pickled(tree: object) -> bytes:
    buffer = io.BytesIO()
    Pickler(buffer, 2).dump(tree)
    return buffer.getvalue()


def legacy(
    tree: object,
    keys: Any = ("k",),
    counts: tuple[int, ...] = (6,),
    *,
    little: bool = True,
    protocol: int = 1001,
) -> bytes:
    """Five pickles and the storages; a tree of bytes is a pickle already."""
    made = b"".join(
        pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, protocol, {"little_endian": little})
    )
    made += tree if isinstance(tree, bytes) else pickled(tree)
    made += pickle.dumps(list(keys) if isinstance(keys, tuple) else keys, 2)
    order = "<" if little else ">"
    return made + b"".join(struct.pack(f"{order}q6f", count, *range(6)) for count in counts)


def old(tree: object) -> bytes:
    return saved(tree, _use_new_zipfile_serialization=False)


def odd(name: str, content: bytes) -> Odd:
    def write(site: Site) -> tuple[Any, Values]:
        return site.write(content), loaded(content)

    return Odd(f"legacy: {name}", write)


ONES = {"w": Tensor(Storage())}
LEGACY_LIES: dict[str, tuple[bytes, str]] = {
    "another count": (legacy(ONES, counts=(5,)), "has 5 elements instead of 6"),
    "a negative count": (legacy(ONES, counts=(-6,)), "has -6 elements"),
    "a huge count": (legacy(ONES, counts=(1 << 62,)), "elements instead of 6"),
    "a huge storage": (legacy(Tensor(Storage(numel=1 << 60)), counts=(1 << 60,)), "'k' takes"),
    "no bytes": (legacy(ONES, counts=()), "8 bytes at"),
    "no keys": (legacy(ONES, keys=(), counts=()), "bytes of 1 storages are missing"),
    "keys that are no list": (legacy(ONES, keys={"k": 1}), "list of storages is missing"),
    "a key twice": (legacy(ONES, keys=("k", "k"), counts=(6, 6)), "don't fit"),
    "a key nobody uses": (legacy(ONES, keys=("k", "x"), counts=(6, 6)), "don't fit"),
    "two sizes of one storage": (
        legacy([Tensor(Storage()), Tensor(Storage(numel=5))]), "'k' is described in two ways",
    ),
    "a part beyond its storage": (legacy(Tensor(Storage(("p", 3, 4)))), "reaches beyond it"),
    "a tensor beyond its part": (legacy(Tensor(Storage(PART), 1, 4)), "exceeds its 16 bytes"),
    "another version": (legacy({}, (), (), protocol=1002), "version"),
    "half the storages": (old({"a": torch.ones(1000)})[:-2000], "truncated"),
    "half the pickle": (old(all_dtypes())[:600], "breaks off"),
    "nothing after the magic number": (pickle.dumps(0x1950A86A20F9469CFC6C, 2), "breaks off"),
    "tuples that collide as keys": (legacy(b"\x80\x02}(" + colliding_tuples(40_000, 16) + b"u.", (), ()),
        "no weights"),
}  # fmt: skip


def payload(name: str) -> Make:
    def write(site: Site) -> Any:
        made = dict_with(CALLS[name](site.canary), "w")
        return site.write(legacy(made, ("0",), (), little=True) + struct.pack("<q4f", 4, 1, 1, 1, 1))

    return write


def dumped(*values: object) -> bytes:
    return b"".join(pickle.dumps(value, 2) for value in values)


def storages(
    counts: tuple[int, ...] = (6, 3),
    views: object = (("77", 10, 1, 3),),
    number: object = 2,
    order: str = "<",
) -> bytes:
    first = dumped((10, "cpu", torch.FloatStorage)) + struct.pack(f"{order}q6f", counts[0], 0, 1, 2, 3, 4, 5)
    second = dumped((11, "cuda:3", torch.LongStorage)) + struct.pack(f"{order}q3q", counts[1], 7, 8, 9)
    views = [(int(key), *rest) for key, *rest in views] if isinstance(views, tuple) else views
    return dumped(number) + first + second + dumped(views)


def tensor(
    key: object, storage: object, shape: tuple[int, ...], stride: tuple[int, ...], offset: int
) -> bytes:
    numbers = struct.pack(f"<{2 * len(shape) + 1}q", *shape, *stride, offset)
    return dumped((key, storage, torch.FloatTensor)) + struct.pack("<iI", len(shape), 0) + numbers


TENSORS = (
    tensor(1, 10, (2, 3), (3, 1), 0)
    + tensor(2, 10, (3, 2), (1, 3), 0)
    + tensor(3, 11, (3,), (1,), 0)
    + tensor(4, 77, (2,), (1,), 1)
    + tensor(5, 10, (), (), 4)
)
NAMES = ["a", "t", "long", "part", "scalar"]


def archive(*, kinds: dict[str, bytes] | None = None, **members: bytes) -> bytes:
    """A tar archive as torch.save made it; members may be left out (empty) or of another kind."""
    parts = {
        "sys_info": dumped({"protocol_version": 1000, "little_endian": True, "type_sizes": {"int": 4}}),
        "pickle": pickled({name: Kept(str(key)) for key, name in enumerate(NAMES, 1)}),
        "tensors": dumped(5) + TENSORS,
        "storages": storages(),
    } | members
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=tarfile.PAX_FORMAT) as made:
        for name, data in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if kind := (kinds or {}).get(name):
                info.type, info.linkname, info.size = kind, "/etc/hostname", 0
            made.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def tar(site: Site, order: str = "<") -> tuple[Any, Values]:
    """`torch.load` reads such an archive from a path only."""
    as_here = site.folder.parent / "little-endian"
    as_here.write_bytes(archive())
    content = archive(sys_info=dumped({"little_endian": order == "<"}), storages=storages(order=order))
    return site.write(content), torch.load(as_here, map_location="cpu", weights_only=False)


def one(
    *, key: object = 1, storage: object = 10, shape: Any = (1,), stride: Any = (1,), offset: int = 0
) -> bytes:
    return dumped(1) + tensor(key, storage, shape, stride, offset)


TAR_LIES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "a storage beyond the others": (archive(storages=storages((7, 3))), ("storages",)),
    "a huge storage": (archive(storages=storages((1 << 60, 3))), ("storages", "4611686018427387904 bytes")),
    "a negative storage": (archive(storages=storages((-6, 3))), ("storages", "-24 bytes")),
    "more storages announced": (archive(storages=storages(number=3)), ("storages", "no sense")),
    "a huge number": (archive(storages=storages(number=1 << 62)), ("storages", "no sense")),
    "a number that is none": (archive(storages=storages(number="2")), ("storages", "number of its contents")),
    "a view beyond its storage": (archive(storages=storages(views=(("77", 10, 4, 3),))), ("reaches beyond",)),
    "a view of nothing": (archive(storages=storages(views=(("77", 99, 0, 1),))), ("view of a storage",)),
    "a tensor over nothing": (archive(tensors=one(storage=99)), ("tensors", "no sense")),
    "a tensor beyond its storage": (archive(tensors=one(shape=(7,))), ("storage 10", "exceeds its 24 bytes")),
    "a negative stride": (archive(tensors=one(shape=(2,), stride=(-1,), offset=1)), ("impossible",)),
    "65 dimensions": (archive(tensors=one(shape=(1,) * 65, stride=(1,) * 65)), ("65 dimensions",)),
    "a key twice": (archive(tensors=dumped(2) + tensor(1, 10, (1,), (1,), 0) * 2), ("no sense",)),
    "an empty pickle": (archive(pickle=b""), ("pickle", "breaks off")),
    "a member twice": (archive(**{"./tensors": b"x"}), ("tensors", "two")),
    "a link for a member": (archive(kinds={"storages": tarfile.SYMTYPE}),
        ("'storages' is a link or a device",)),
    "a hard link": (archive(kinds={"pickle": tarfile.LNKTYPE}), ("'pickle' is a link or a device",)),
    "a device for a member": (archive(kinds={"tensors": tarfile.CHRTYPE}),
        ("'tensors' is a link or a device",)),
    "half of it": (archive()[:4000], ("truncated",)),
}  # fmt: skip


def tar_payload(site: Site) -> Any:
    command = b"cposix\nsystem\n" + call(f"touch '{site.canary}'")
    weights = text("w") + b"".join((text("1"), b"Q"))
    made = b"\x80\x02}" + weights + b"s" + text("x") + command + b"s."
    ones = (
        dumped(1) + dumped((10, "cpu", torch.FloatStorage)) + struct.pack("<q4f", 4, 1, 1, 1, 1) + dumped([])
    )
    return site.write(archive(pickle=made, storages=ones, tensors=one(shape=(4,))))


ITEMS: list[Item] = [
    odd("all dtypes",
        old({key: value for key, value in all_dtypes().items() if hasattr(torch, STORAGES.get(key, ""))})),
    odd("views", old(views())),
    odd("tied and shared", old(shared())),
    odd("quantised", old(quantised())),
    odd("sparse", old(sparse())),
    odd("parts of a storage", legacy({"all": Tensor(Storage()), "part": Tensor(Storage(PART), 1, 3)})),
    Odd("legacy: big-endian", lambda site: (
        site.write(legacy({"a": Tensor(Storage(), 1, 3)}, little=False)),
            {"a": torch.tensor([1.0, 2.0, 3.0])})),
    *(Bad(f"legacy: {name}", file(content), (told,)) for name, (content, told) in LEGACY_LIES.items()),
    Inert("legacy: os.system beside weights", payload("os.system"), "posix.system"),
    Inert("legacy: OBJ beside weights", payload("OBJ"), "builtins.exec"),
    Inert("legacy: NEWOBJ_EX beside weights", payload("NEWOBJ_EX"), "functools.partial"),
    Odd("tar: as PyTorch 0.1.9 wrote it", tar),
    Odd("tar: big-endian", lambda site: tar(site, ">")),
    *(Bad(f"tar: {name}", file(content), told) for name, (content, told) in TAR_LIES.items()),
    Inert("tar: os.system beside weights", tar_payload, "posix.system"),
]  # fmt: skip
