"""`torch.save`'s zip archives as PyTorch writes them, and as others repack them."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from corpus.hostile_pickles import dict_with, laughs
from corpus.items import Item, Odd, Site, Values, zipped

ONES = struct.pack("<4f", 1, 1, 1, 1)


def pack(
    pickle: bytes, storages: dict[str, bytes] | None = None, *, deflated: bool = False, **more: bytes
) -> bytes:
    """A zip as torch.save lays it out, around a pickle made by hand."""
    entries = {"made/data.pkl": pickle, "made/version": b"3\n"}
    entries |= {f"made/data/{key}": data for key, data in (storages or {}).items()}
    return zipped(entries | {f"made/{name}": data for name, data in more.items()}, deflated=deflated)


def saved(tree: object, **how: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(tree, buffer, **how)
    return buffer.getvalue()


def remade(archive: bytes, change: Callable[[str, bytes], bytes | None], *, deflated: bool = False) -> bytes:
    """The archive with its entries changed; `None` leaves one out."""
    with zipfile.ZipFile(io.BytesIO(archive)) as old:
        entries = [(name, change(name, old.read(name))) for name in old.namelist()]
    return zipped([(name, data) for name, data in entries if data is not None], deflated=deflated)


def loaded(archive: bytes) -> Any:
    return torch.load(io.BytesIO(archive), map_location="cpu", weights_only=False)


def odd(name: str, make: Callable[[], bytes], flat: Callable[[Any], Values] = lambda tree: tree) -> Odd:
    """The values are what `torch.load` makes of it."""

    def write(site: Site) -> tuple[Any, Values]:
        archive = make()
        return site.write(archive), flat(loaded(archive))

    return Odd(f"zip: {name}", write)


DTYPES = [
    "float64",
    "float32",
    "float16",
    "bfloat16",
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
    "complex128",
    "complex64",
    "complex32",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint64",
    "uint32",
    "uint16",
    "uint8",
    "bool",
]


def all_dtypes() -> dict[str, torch.Tensor]:
    """Random bits, NaNs among them; in bool, bytes of 0 and 1."""
    made = {}
    for name in DTYPES:
        dtype = getattr(torch, name)
        raw = np.frombuffer(np.random.default_rng(0).bytes(12 * dtype.itemsize), np.uint8).copy()
        bits = torch.from_numpy(raw & 1 if name == "bool" else raw)
        made[name] = bits.view(dtype).reshape(3, 4)
    return made


def quantised() -> dict[str, torch.Tensor]:
    values = torch.tensor([[1.5, -2.0, 0.25], [0.0, 3.0, -0.5]])
    scales = torch.tensor([0.5, 0.25, 0.125], dtype=torch.float64)
    return {
        "qint8": torch.quantize_per_tensor(values, 0.25, 3, torch.qint8),
        "quint8": torch.quantize_per_tensor(values, 0.1, 128, torch.quint8),
        "qint32": torch.quantize_per_tensor(values, 1e-6, 0, torch.qint32),
        "transposed": torch.quantize_per_tensor(values, 0.25, 3, torch.qint8).t(),
        "channels": torch.quantize_per_channel(values, scales, torch.tensor([0, 1, -1]), 1, torch.qint8),
        "plain": torch.ones(2),
    }


def views() -> dict[str, torch.Tensor]:
    base = torch.arange(120.0)
    return {
        "transposed": base.view(10, 12).t(), "part": base[7:50:3],
            "window": base.as_strided((9, 4), (3, 1), 2),
        "expanded": base[:3, None].expand(3, 1000), "flipped dims": base.view(2, 3, 4, 5).permute(3, 1, 0, 2),
        "the end": base[119:],
        "diagonal": base[:100].view(10, 10).diagonal(),
    }  # fmt: skip


def shared() -> dict[str, torch.Tensor]:
    tied = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    return {"embed.weight": tied, "head.weight": tied, "head.t": tied.t(), "row": tied[1]}


class Marked(torch.Tensor):
    """A subclass with an attribute."""


def subclasses() -> dict[str, torch.Tensor]:
    marked = torch.ones(2).as_subclass(Marked)
    marked.mark = "x"  # type: ignore[attr-defined]
    parameter = nn.Parameter(torch.arange(3.0))
    parameter.tag = 1  # type: ignore[attr-defined]
    return {"marked": marked, "parameter": parameter, "buffer": nn.Buffer(torch.ones(1))}


def sparse() -> dict[str, torch.Tensor]:
    values = torch.tensor([[1.5, 0, 0.25], [0.0, 3.0, 0]])
    block = torch.block_diag(torch.ones(2, 2), torch.full((2, 4), 3.0))
    return {
        "coo": values.to_sparse(), "csr": values.to_sparse_csr(), "csc": values.to_sparse_csc(),
        "unsorted": torch.sparse_coo_tensor([[2, 0, 2], [0, 1, 0]], [1.0, 2.0, 3.0], (3, 2)),
        "bsr": block.to_sparse_bsr((2, 2)), "bsc": block.to_sparse_bsc((2, 3)), "dense": torch.ones(2),
    }  # fmt: skip


def located(location: bytes) -> bytes:
    """Of CPU tensors, but saying that they were on another device."""
    place = b"X" + len(location).to_bytes(4, "little") + location
    return remade(
        saved({"a": torch.arange(4.0), "b": torch.ones(2).half()}),
        lambda name, data: data.replace(b"X\x03\x00\x00\x00cpu", place) if name.endswith(".pkl") else data,
    )


def elsewhere(location: bytes) -> Odd:
    def write(site: Site) -> tuple[Any, Values]:
        return site.write(located(location)), {"a": torch.arange(4.0), "b": torch.ones(2).half()}

    return Odd(f"zip: from {location.decode()}", write)


def big_endian(site: Site) -> tuple[Any, Values]:
    """Made by turning the bytes of every number round."""
    tensors = {k: v for k, v in all_dtypes().items() if "complex" not in k} | {"view": torch.randn(3, 4).t()}
    widths = {str(n): tensor.element_size() for n, tensor in enumerate(tensors.values())}

    def turn(name: str, data: bytes) -> bytes:
        if name.endswith("/byteorder"):
            return b"big"
        if "/data/" not in name:
            return data
        return np.frombuffer(data, np.uint8).reshape(-1, widths[name.rpartition("/")[2]])[:, ::-1].tobytes()

    return site.write(remade(saved(tensors), turn)), tensors


def no_checksums() -> bytes:
    from torch.utils.serialization import config

    before = config.save.compute_crc32
    config.save.compute_crc32 = False
    try:
        return saved(all_dtypes())
    finally:
        config.save.compute_crc32 = before


def rootless(site: Site) -> tuple[Any, Values]:
    """All of it at the top of the archive, as repacking with `zip -r` from inside leaves it."""
    tensors = all_dtypes()
    with zipfile.ZipFile(io.BytesIO(saved(tensors))) as old:
        entries = {name.partition("/")[2]: old.read(name) for name in old.namelist()}
    return site.write(zipped(entries)), tensors


def with_deep_and_shared_rest(site: Site) -> tuple[Any, Values]:
    """Trees of any depth and sharing are only as large as the file: 50,000 lists deep, and of 10⁶⁰ leaves."""
    deep = b"]" * 50_000 + b"a" * 49_999
    tree = dict_with(b"(" + deep + laughs() + b"t.")
    return site.write(pack(tree, {"0": ONES})), {"w": torch.ones(4)}


def many() -> bytes:
    return saved({f"block.{n}.weight": torch.full((2, 2), float(n)) for n in range(2000)})


def zip64(site: Site) -> tuple[Any, Values]:
    """Sizes and places in 64-bit fields although they would fit in 32."""
    tensors = {"a": torch.arange(6.0).view(2, 3)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(tensors))) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            with new.open(zipfile.ZipInfo(name), "w", force_zip64=True) as entry:
                entry.write(old.read(name))
    return site.write(buffer.getvalue()), tensors


def streamed(site: Site) -> tuple[Any, Values]:
    """Written to a pipe, so that sizes follow the data."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError

        def seek(self, *_: Any) -> int:
            raise OSError

    tensors, pipe = all_dtypes(), Pipe()
    with (
        zipfile.ZipFile(io.BytesIO(saved(tensors))) as old,
        zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return site.write(pipe.getvalue()), tensors


ITEMS: list[Item] = [
    *(odd(f"protocol {n}", lambda n=n: saved(all_dtypes(), pickle_protocol=n)) for n in (2, 3, 4, 5)),
    odd("a deflated copy", lambda: remade(saved(all_dtypes()), lambda _, data: data, deflated=True)),
    odd("quantised", lambda: saved(quantised())),
    odd("views", lambda: saved(views())),
    odd("tied and shared", lambda: saved(shared())),
    odd("subclasses, parameters, buffers", lambda: saved(subclasses())),
    odd("sparse", lambda: saved(sparse())),
    odd("numbers and empty ones", lambda: saved({
        "scalar": torch.tensor(1.5), "empty": torch.empty(0, 3), "none": torch.empty(2, 0, 5),
            "step": torch.tensor(7),
    })),
    odd("conjugate and negative views", lambda: saved({
        "c": torch.randn(3, dtype=torch.complex64).conj(),
            "n": torch.randn(3, dtype=torch.complex64).conj().imag,
    })),
    odd("without checksums", no_checksums),
    odd("a name beyond ASCII", lambda: saved({"schicht.größe": torch.ones(2), "層": torch.zeros(1)})),
    odd("2,000 tensors", many),
    odd("in groups", lambda: saved({"a": {"w": torch.ones(2)}, "b": {"w": torch.zeros(3)}}),
        lambda tree: {f"{a}.{b}": value for a, group in tree.items() for b, value in group.items()}),
    *map(elsewhere, (b"cuda:7", b"mps", b"mps:0", b"xpu:1")),
    Odd("zip: big-endian", big_endian),
    Odd("zip: without a folder", rootless),
    Odd("zip: a deep and shared tree beside", with_deep_and_shared_rest),
    Odd("zip: 64-bit records", zip64),
    Odd("zip: streamed and deflated", streamed),
]  # fmt: skip
