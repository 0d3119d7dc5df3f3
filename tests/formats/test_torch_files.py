"""Odd but legitimate files of `torch.save`, zip and legacy, compared with `torch.load`."""

from __future__ import annotations

import argparse
import subprocess
import sys
import zipfile
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from torchgraft.errors import CorruptCheckpointError
from torchgraft.formats import Placeholder, read_container
from torchgraft.formats.archives.zip_directory import read_directory
from torchgraft.storage.local import MappedFile
from torchgraft.tensors import TensorRef

UNREADABLE_IN_LEGACY = {
    f"torch.{name}" for name in ("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2")
}
"""PyTorch writes these to legacy files and can't read them back."""

Check = Callable[[object, object], None]


def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    base = torch.arange(60, dtype=torch.float32)
    plain = {
        str(dtype): torch.arange(-4, 20).to(dtype).reshape(2, 3, 4)
        for dtype in (
            torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
            torch.int16, torch.int8, torch.uint8, torch.bool, torch.complex64, torch.complex128, torch.uint16,
            torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2,
        )
    }  # fmt: skip
    return plain | {
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 3),
        "empty in the middle": torch.empty(2, 0, 4),
        "transposed": torch.randn(3, 5).t(),
        "channels last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "part": base[7:31:3],
        "another part": base[10:50].view(5, 8)[:, 1:3],
        "expanded": torch.tensor([1.0, 2.0]).expand(4, 2),
        "conjugate": torch.tensor([1 + 2j, 3 - 4j]).conj(),
        "negative": torch.tensor([1 + 2j, 3 - 4j]).conj().imag,
        "parameter": nn.Parameter(torch.randn(3)),
        "one element of many": base[59],
    }


def others() -> dict[object, object]:
    shared = torch.randn(4, 4)
    return {
        "nested": {
            "list": [1, 2.5, None, True, "text", "ünï\U0001f600", (1, (2,), ())],
            3: {"deeper": [[[]]]},
        },
        "numbers": [0, 255, 256, 65536, -1, 2**31, -(2**63), 2**100, float("inf"), -0.0, 1e-300],
        "bytes": b"\x00\xff" * 200,
        "short bytes": b"a",
        "complex": 1 + 2j,
        "sets": [{1, 2}, frozenset({"a"})],
        "range": range(1, 10, 2),
        "ordered": OrderedDict(a=1, b=shared),
        "default": defaultdict(list, {"x": [1]}),
        "counter": Counter("banana"),
        "size": torch.Size([1, 2]),
        "tied": [shared, shared, shared[0]],
        ("tuple", 1): "key",
        "optimizer": torch.optim.Adam([nn.Parameter(torch.ones(2))]).state_dict(),
        "many": list(range(3000)),
    }


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("make", [tensors, others])
def test_the_same_as_torch_load(
    make: Callable[[], object], protocol: int, zipped: bool, tmp_path: Path, assert_same: Check
) -> None:
    path = tmp_path / "x"
    made = make()
    if not zipped and isinstance(made, dict):
        made = {key: value for key, value in made.items() if key not in UNREADABLE_IN_LEGACY}
    torch.save(made, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    container = read_container(path)
    assert container.format == ("torch zip" if zipped else "torch legacy")
    assert_same(container.tree, torch.load(path, weights_only=False))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "index",
    [0, slice(1, None), (slice(None), 1), (..., slice(0, 3, 2)), (1, 2, 3), None, (slice(0, 0),)],
    ids=str,
)
def test_a_part_is_read_as_from_the_whole(index: Any, zipped: bool, tmp_path: Path) -> None:
    whole = {
        "a": torch.randn(2, 3, 4),
        "t": torch.randn(4, 3, 2).permute(2, 1, 0),
        "b": torch.randn(2, 3, 4).bool(),
    }
    torch.save(
        {"odd": torch.zeros(3, dtype=torch.uint8)} | whole,
        tmp_path / "x",
        _use_new_zipfile_serialization=zipped,
    )
    tree = read_container(tmp_path / "x").tree
    assert isinstance(tree, dict)
    for key, tensor in whole.items():
        assert torch.equal(tree[key][index], tensor[index])
        assert torch.equal(tree[key].view(index), tensor[index])


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_alias_tells_tied_tensors(zipped: bool, tmp_path: Path) -> None:
    base = torch.randn(4, 4)
    tree = {
        "a": base,
        "b": base,
        "t": base.t(),
        "row": base[0],
        "other": base.clone(),
        "p": nn.Parameter(base),
    }
    torch.save(tree, tmp_path / "x", _use_new_zipfile_serialization=zipped)
    read = read_container(tmp_path / "x").tree
    assert isinstance(read, dict)
    assert read["a"].alias == read["b"].alias == read["p"].alias
    assert len({read[key].alias for key in ("a", "t", "row", "other")}) == 4


def test_writing_to_a_view_never_reaches_the_file(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1000)}, tmp_path / "x")
    before = (tmp_path / "x").read_bytes()
    tree = read_container(tmp_path / "x").tree
    assert isinstance(tree, dict)
    tree["a"].view().zero_()
    assert (tmp_path / "x").read_bytes() == before


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_whole_module_whose_class_is_gone(
    zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = type("Lost", (nn.Module,), {"__module__": __name__})
    monkeypatch.setattr(sys.modules[__name__], "Lost", lost, raising=False)
    model = lost()
    model.body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    model.register_buffer("scratch", torch.zeros(1), persistent=False)
    torch.save(model, tmp_path / "x", _use_new_zipfile_serialization=zipped)
    monkeypatch.delattr(sys.modules[__name__], "Lost")

    tree = read_container(tmp_path / "x").tree
    assert isinstance(tree, Placeholder)
    assert tree.class_name == f"{__name__}.Lost"
    assert isinstance(tree.state, dict)
    assert tree.state["_non_persistent_buffers_set"] == {"scratch"}
    body = tree.state["_modules"]["body"]
    assert body.class_name == "torch.nn.modules.container.Sequential"
    norm = body.state["_modules"]["1"].state
    assert torch.equal(norm["_parameters"]["weight"].read(), torch.ones(2))
    assert norm["_buffers"]["num_batches_tracked"].shape == ()
    assert isinstance(body.state["_modules"]["0"].state["_parameters"]["weight"], TensorRef)


def test_unknown_objects_are_placeholders(tmp_path: Path) -> None:
    things = {
        "args": argparse.Namespace(lr=0.1, w=torch.ones(2)),
        "path": Path("a/b"),
        "dtype": torch.float16,
        "device": torch.device("cuda", 1),
        "class": nn.Linear,
    }
    torch.save(things, tmp_path / "x")
    tree = read_container(tmp_path / "x").tree
    assert isinstance(tree, dict)
    args = tree["args"]
    assert (args.class_name, list(args.state)) == ("argparse.Namespace", ["lr", "w"])
    assert torch.equal(args.state["w"].read(), torch.ones(2))
    assert (tree["path"], tree["dtype"], tree["device"]) == ("a/b", "torch.float16", "cuda:1")
    assert "torch.nn.modules.linear.Linear" in str(tree["class"])


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_numpy(protocol: int, tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    things = {
        "a": array,
        "again": array,
        "f": np.asfortranarray(array),
        "n": np.float64(2.5),
        "i": np.int64(-3),
        "b": np.bool_(True),
        "o": np.array(["x", None], dtype=object),
        "big": array.astype(">f4"),
    }
    torch.save(things, tmp_path / "x", pickle_protocol=protocol)
    tree = read_container(tmp_path / "x").tree
    assert isinstance(tree, dict)
    for key in ("a", "again", "f", "big"):
        assert np.array_equal(tree[key].read().numpy(), array)
    assert tree["a"].alias == tree["again"].alias != tree["f"].alias
    assert (tree["n"], tree["i"], tree["b"]) == (2.5, -3, True)
    assert (tree["o"].class_name, tree["o"].args) == (
        "numpy.ndarray",
        ("an array of objects, which no tensor can hold",),
    )


def test_a_tree_may_hold_itself(tmp_path: Path) -> None:
    loop: dict[str, Any] = {"list": []}
    loop["self"] = loop
    loop["list"].append(loop["list"])
    torch.save(loop, tmp_path / "x")
    tree = read_container(tmp_path / "x").tree
    assert isinstance(tree, dict)
    assert tree["self"] is tree
    assert tree["list"][0] is tree["list"]


def test_deflated_entries(tmp_path: Path, assert_same: Check) -> None:
    torch.save(tensors(), tmp_path / "x")
    with (
        zipfile.ZipFile(tmp_path / "x") as old,
        zipfile.ZipFile(tmp_path / "y", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert_same(read_container(tmp_path / "y").tree, torch.load(tmp_path / "x"))


def test_a_byte_order_that_is_none_is_refused(pack: Callable[..., Path]) -> None:
    with pytest.raises(CorruptCheckpointError, match="byte order"):
        read_container(pack(b"\x80\x02}.", byteorder=b"middle"))


def test_opening_needs_no_torch(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2), "m": nn.Linear(1, 1)}, tmp_path / "x")
    code = (
        "import sys; from torchgraft.formats import read_container; "
        "read_container(sys.argv[1]); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_many_entries(pack: Callable[..., Path]) -> None:
    """More than 65,535 need the zip format's 64-bit records."""
    path = pack(b"\x80\x02}.", {str(index): b"%d" % index for index in range(66_000)})
    entries = read_directory(MappedFile(path))
    assert len(entries) == 66_002
    assert bytes(entries["made/data/65999"].view()) == b"65999"
    assert read_container(path).tree == {}


def test_a_changed_pickle_is_told_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"a.weight": torch.ones(2)}, path)
    path.write_bytes(path.read_bytes().replace(b"a.weight", b"b.weight"))
    assert list(torch.load(path)) == ["b.weight"]  # torch does not look
    with pytest.raises(CorruptCheckpointError, match="checksum"):
        read_container(path)


def test_a_file_saved_without_checksums_opens(tmp_path: Path) -> None:
    from torch.utils.serialization import config

    with config.patch("save.compute_crc32", False):
        torch.save({"a": torch.arange(3)}, tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "x.pth") as archive:
        assert {entry.CRC for entry in archive.infolist()} == {0}
    tree: Any = read_container(tmp_path / "x.pth").tree
    assert tree["a"].read().tolist() == [0, 1, 2]
