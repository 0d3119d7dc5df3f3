"""Modules that were pickled whole: the names, order and values of `state_dict()`, without their classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import torchgraft as tg
from torchgraft.checkpoint import Checkpoint
from torchgraft.formats.container import Container, Placeholder
from torchgraft.tensors import TensorRef

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*deprecated", "ignore:.*quantiz"),
]


class Lists(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scales = nn.ParameterList([torch.ones(2), torch.zeros(3)])
        self.table = nn.ParameterDict({"b": torch.ones(1), "a": torch.ones(2)})
        self.last = nn.ModuleDict({"z": nn.Linear(1, 1), "a": nn.Linear(1, 2)})


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(4, 3)
        self.head = nn.Linear(3, 4, bias=False)
        self.head.weight = self.embed.weight
        self.again = self.head


class Buffers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scratch", torch.ones(2), persistent=False)
        self.register_buffer("kept", torch.ones(3))
        self.register_buffer("absent", None)
        self.new = nn.Buffer(torch.ones(1))
        self.hidden = nn.Buffer(torch.ones(1), persistent=False)
        self.weight = nn.Parameter(torch.ones(1))
        self.plain = torch.ones(5)


def quantised() -> nn.Module:
    from torch.ao.nn import quantized

    return nn.Sequential(quantized.Conv2d(1, 2, 3), nn.Linear(2, 2), quantized.Conv1d(2, 2, 1))


MODULES: dict[str, Callable[[], nn.Module]] = {
    "lists": Lists,
    "tied": Tied,
    "buffers": Buffers,
    "data parallel": lambda: nn.DataParallel(nn.Linear(2, 2)),
    "averaged": lambda: torch.optim.swa_utils.AveragedModel(nn.Linear(2, 2)),
    "weight norm": lambda: nn.utils.weight_norm(nn.Linear(2, 3)),
    "spectral norm": lambda: nn.utils.spectral_norm(nn.Linear(2, 3)),
    "pruned": lambda: prune.l1_unstructured(nn.Linear(4, 3), "weight", 0.5),
    "attention": lambda: nn.MultiheadAttention(4, 2),
    "attention of three": lambda: nn.MultiheadAttention(4, 2, kdim=3, vdim=5, add_bias_kv=True),
    "transformer": lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 2),
    "lstm": lambda: nn.LSTM(2, 4, 2, bidirectional=True, proj_size=3),
    "norms": lambda: nn.Sequential(nn.SyncBatchNorm(3), nn.InstanceNorm2d(3, track_running_stats=True)),
    "traced by fx": lambda: torch.fx.symbolic_trace(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))),
    "compiled": lambda: torch.compile(nn.Linear(2, 2)),  # type: ignore[return-value]
    "in a compiled one": lambda: torch.compile(Lists()),  # type: ignore[return-value]
    "quantised": quantised,
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", MODULES)
def test_the_same_as_state_dict(name: str, zipped: bool, tmp_path: Path) -> None:
    model = MODULES[name]()
    torch.save(model, tmp_path / "x", _use_new_zipfile_serialization=zipped)
    expected = model.state_dict()
    checkpoint = tg.open(tmp_path / "x")
    assert list(checkpoint) == list(expected)
    for key, tensor in expected.items():
        read = checkpoint[key].read()
        assert read.dtype == tensor.dtype
        if tensor.is_quantized:
            assert torch.equal(read.int_repr(), tensor.int_repr())
            read, tensor = read.dequantize(), tensor.dequantize()
        assert torch.equal(read, tensor), key
    if type(model).__module__ != __name__ or name in {"lists", "tied"}:
        assert any(part in " ".join(checkpoint.classes) for part in (type(model).__name__, "GraphModule"))


def test_tied_modules_are_tied(tmp_path: Path) -> None:
    torch.save(Tied(), tmp_path / "x")
    checkpoint = tg.open(tmp_path / "x")
    assert list(checkpoint) == ["embed.weight", "head.weight", "again.weight"]
    assert len({ref.alias for ref in checkpoint.values()}) == 1


def test_modules_that_were_pickled_before_buffers_could_be_unsaved(tmp_path: Path) -> None:
    """PyTorch 1.5 brought that; what it restores from an older pickle has all buffers in its state dict."""
    model = Buffers()
    del model.__dict__["_non_persistent_buffers_set"]
    torch.save(model, tmp_path / "x")
    restored = torch.load(tmp_path / "x", weights_only=False)
    assert list(tg.open(tmp_path / "x")) == list(restored.state_dict())


def test_a_lazy_module_has_no_tensors_yet(tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 2)), tmp_path / "x")
    checkpoint = tg.open(tmp_path / "x")
    assert list(checkpoint) == ["1.weight", "1.bias"]
    assert "torch.nn.parameter.UninitializedParameter" in checkpoint.classes


def packed() -> nn.Module:
    from torch.ao.nn import quantized

    return nn.Sequential(quantized.Linear(3, 2), nn.Linear(2, 2))


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "state dict"])
def test_a_packed_pair_gives_two_tensors(whole: bool, tmp_path: Path) -> None:
    """A quantised linear layer's state dict keeps weight and bias in a tuple under one name."""
    model = packed()
    torch.save(model if whole else model.state_dict(), tmp_path / "x")
    expected = model.state_dict()
    weight, bias = expected["0._packed_params._packed_params"]
    checkpoint = tg.open(tmp_path / "x")
    assert list(checkpoint) == [
        "0.scale", "0.zero_point", "0._packed_params._packed_params.0", "0._packed_params._packed_params.1",
        "1.weight", "1.bias",
    ]  # fmt: skip
    assert torch.equal(checkpoint["0._packed_params._packed_params.0"].read().int_repr(), weight.int_repr())
    assert torch.equal(checkpoint["0._packed_params._packed_params.1"].read(), bias)
    for key in ("0.scale", "0.zero_point"):
        assert torch.equal(checkpoint[key].read(), expected[key])
        assert checkpoint[key].dtype == str(expected[key].dtype)[6:]


def ref(*shape: int) -> TensorRef:
    return TensorRef("", shape, "float32", fetch=lambda index: torch.zeros(shape)[index])


@pytest.mark.parametrize("unsaved", [5, "ab", {"a": 1}, Placeholder("x.Y"), None, ["b"], frozenset({"b"})])
def test_stores_that_make_no_sense_do_no_harm(unsaved: object) -> None:
    endless: list[object] = []
    for _ in range(60):
        endless = [endless, endless]
    key = Placeholder("x.Y", (endless,))
    state = {
        "_parameters": {"w": ref(2, 2), key: ref(3), "no": 3},
        "_buffers": {"b": ref(1), key: ref(3)},
        "_modules": {"m": 7, key: Placeholder("x.Z")},
        "_non_persistent_buffers_set": unsaved,
    }
    container = Container("x.pth", Path("x.pth"), "zip", Placeholder("lost.Net", state=state))
    checkpoint = Checkpoint.from_container(container)
    assert list(checkpoint) == (["w"] if isinstance(unsaved, (list, frozenset)) else ["w", "b"])


@pytest.mark.parametrize(
    "state",
    [
        (None,) * 10 + (3, None, 1.0, 0, True),
        (None,) * 10 + (ref(2),),
        (None,) * 20,
    ],
)
def test_quantised_convolutions_that_are_none_do_no_harm(state: tuple[object, ...]) -> None:
    forged = Placeholder("torch.ao.nn.quantized.modules.conv.Conv2d", state=state)
    container = Container("x.pth", Path("x.pth"), "zip", {"m": {"w": ref(2, 2)}, "q": forged})
    assert Checkpoint.from_container(container, "m").part == "m"
