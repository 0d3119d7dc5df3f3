"""TorchScript archives against `torch.jit.load`: names, order and values, without compiling their code."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import torchgraft as tg
from torchgraft.errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats import read_container
from torchgraft.formats.torch.script_classes import read_classes

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore:Converting a tensor",
    "ignore:The TorchScript",
)


class Attributes(nn.Module):
    """Every kind of attribute that may hold a tensor."""

    __annotations__ = {"maybe": Optional[torch.Tensor]}  # noqa: UP045 (TorchScript wants the type itself)

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 3, bias=False)
        self.register_buffer("buffer", torch.ones(2))
        self.plain = torch.full((3,), 2.0)
        self.register_buffer("hidden", torch.zeros(1), persistent=False)
        self.own = nn.Parameter(torch.full((1,), 3.0))
        self.list = [torch.ones(1)]
        self.table = {"a": torch.ones(2)}
        self.nothing: None = None
        self.register_buffer("absent", None)
        self.register_buffer("maybe", torch.ones(4))
        self.number = 3
        self.last = nn.Linear(1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.maybe is not None:
            x = x + 1
        return self.inner(x) + self.plain + self.own + self.list[0] + self.table["a"].sum()


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embed.weight
        self.again = self.head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.again(self.head(self.embed(x)).sum(-1, keepdim=True).expand(-1, 3))


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1, bias=False), nn.Flatten()
    )


class Lists(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
        self.table = nn.ModuleDict({"a": nn.LayerNorm(2), "b.c".replace(".", "_"): nn.Linear(2, 1)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        for inner in self.table.values():
            x = inner(x)
        return x


IMAGE, ROW, INDEX = torch.randn(1, 3, 8, 8), torch.randn(4, 2), torch.tensor([[1, 2]])
MODELS: dict[str, Callable[[], Any]] = {
    "attributes": lambda: torch.jit.script(Attributes()),
    "tied": lambda: torch.jit.script(Tied()),
    "lists": lambda: torch.jit.script(Lists()),
    "convolutions": lambda: torch.jit.script(convolutions()),
    "lstm": lambda: torch.jit.script(nn.LSTM(2, 3, 2)),
    "attention": lambda: torch.jit.script(nn.MultiheadAttention(4, 2)),
    "half": lambda: torch.jit.script(convolutions().half()),
    "traced convolutions": lambda: torch.jit.trace(convolutions().eval(), IMAGE),
    "traced tied": lambda: torch.jit.trace(Tied(), INDEX[0]),
    "traced lists": lambda: torch.jit.trace(Lists(), ROW),
    "traced attributes": lambda: torch.jit.trace(Attributes(), ROW),
    "one layer": lambda: torch.jit.script(nn.Linear(2, 1)),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_same_as_torch_jit_load(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    MODELS[name]().save(str(path))
    theirs = torch.jit.load(str(path)).state_dict()
    ours = tg.open(path)
    assert (ours.format, ours.part) == ("torchscript", "")
    assert list(ours) == list(theirs)
    for key, tensor in theirs.items():
        assert torch.equal(ours[key].read(), tensor)
        assert ours[key].dtype == str(tensor.dtype)[6:]
    if "tied" in name:
        assert ours["embed.weight"].alias == ours["head.weight"].alias


def test_a_state_dict_before_and_after(tmp_path: Path) -> None:
    model = convolutions()
    torch.jit.script(model).save(str(tmp_path / "x.pt"))  # type: ignore[no-untyped-call]
    ours = tg.open(tmp_path / "x.pt")
    assert list(ours) == list(model.state_dict())
    assert ours.classes[:2] == ("torch.nn.modules.container.Sequential", "torch.nn.modules.conv.Conv2d")


def test_the_rest_is_plain(tmp_path: Path) -> None:
    torch.jit.script(Attributes()).save(str(tmp_path / "x.pt"))  # type: ignore[no-untyped-call]
    tree: Any = read_container(tmp_path / "x.pt").tree
    assert tree.state["number"] == 3
    assert tree.state["plain"].read().tolist() == [2, 2, 2]
    assert tree.state["table"]["a"].shape == (2,)


def test_weights_that_were_folded_into_the_code_are_its_constants(tmp_path: Path) -> None:
    frozen = torch.jit.freeze(torch.jit.script(nn.Linear(3, 2).eval()))  # type: ignore[no-untyped-call]
    frozen.save(str(tmp_path / "x.pt"))
    assert not torch.jit.load(str(tmp_path / "x.pt")).state_dict()
    ours = tg.open(tmp_path / "x.pt")
    assert ours.part == "constants"
    assert sorted(ref.shape for ref in ours.values()) == [(2,), (2, 3)]


def test_an_archive_without_lists_of_buffers(tmp_path: Path) -> None:
    """Before PyTorch 1.5 the code listed the parameters only."""
    torch.jit.script(convolutions()).save(str(tmp_path / "x.pt"))  # type: ignore[no-untyped-call]
    changed = rewritten(tmp_path / "x.pt", lambda _, data: b"\n".join(
        line for line in data.split(b"\n") if b"__buffers__" not in line
    ))  # fmt: skip
    assert list(tg.open(changed)) == list(convolutions().state_dict())


def rewritten(path: Path, edit: Callable[[str, bytes], bytes | None], kind: str = ".py") -> Path:
    """The archive with its code (or other entries) changed; `None` leaves an entry out."""
    made = path.with_name("changed.pt")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            data = old.read(name)
            changed = edit(name, data) if name.endswith(kind) else data
            if changed is not None:
                new.writestr(name, changed)
    return made


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    path = tmp_path / "x.pt"
    torch.jit.script(nn.Linear(2, 1)).save(str(path))  # type: ignore[no-untyped-call]
    return path


def test_code_that_is_missing_is_told(linear: Path) -> None:
    with pytest.raises(
        CorruptCheckpointError, match=r"changed\.pt: the code of class '__torch__.*Linear' is"
    ):
        tg.open(rewritten(linear, lambda _name, _data: None))
    with pytest.raises(
        CorruptCheckpointError, match=r"changed\.pt: .*linear.*\.py: class 'Linear' is not in it"
    ):
        tg.open(rewritten(linear, lambda _name, data: data.replace(b"class Linear", b"class Lineal")))


def test_much_code_is_refused(linear: Path) -> None:
    with pytest.raises(UnsafeCheckpointError, match=r"changed\.pt: it has more code than is read"):
        tg.open(rewritten(linear, lambda _name, data: data + b"#" * (1 << 26)))


def test_the_code_is_not_run(linear: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    attack = f"open({str(canary)!r}, 'w')\n__import__('os').system('touch {canary}')\n".encode()
    assert list(tg.open(rewritten(linear, lambda _name, data: attack + data))) == ["weight", "bias"]
    assert not canary.exists()


def test_an_archive_of_another_form_is_named(linear: Path) -> None:
    for kind in ("constants.pkl", "data.pkl"):
        path = rewritten(linear, lambda _name, _data: None, kind)
        with pytest.raises(CheckpointError, match=r"changed\.pt"):
            read_container(path)


def test_damaged_pickles_do_no_harm(linear: Path, walk: Callable[[object], Iterator[object]]) -> None:
    import random

    generator = random.Random(0)

    def damage(_name: str, data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(generator.choice([1, 2, 4])):
            changed[generator.randrange(len(changed))] = generator.randrange(256)
        return bytes(changed)

    opened = 0
    for _ in range(200):
        path = rewritten(linear, damage, "/data.pkl")
        try:
            for ref in tg.open(path, select=".").values():
                ref.read()
            opened += 1
        except CheckpointError as error:
            assert str(path) in str(error)  # noqa: PT017
    assert 0 < opened < 200


def test_what_the_code_says_of_its_classes() -> None:
    source = (
        "class A(Module):\n"
        '  __parameters__ = ["w", "0", ]\n'
        '  __buffers__ = ["b", ]\n'
        "  w : Tensor\n"
        '  __annotations__["0"] = Tensor\n'
        "  b : Tensor\n"
        "  o : Optional[Tensor]\n"
        "  size : Final[int] = 2\n"
        "  def forward(self: __torch__.A) -> Tensor:\n"
        '    __buffers__ = ["local", ]\n'
        "    x : Tensor\n"
        "class B(NamedTuple):\n"
        "  w : Tensor\n"
        "def f(x: Tensor) -> Tensor:\n"
        "  y : Tensor\n"
    )
    classes = read_classes(source)
    assert list(classes) == ["A", "B"]
    a = classes["A"]
    assert (a.is_module, a.parameters, a.buffers) == (True, {"w", "0"}, {"b"})
    assert [a.is_buffer(name) for name in ("b", "o", "w", "size", "x", 3)] == [True] + [False] * 5
    assert not classes["B"].is_module


def test_opening_needs_no_torch(linear: Path) -> None:
    code = "import sys, torchgraft as tg; print(list(tg.open(sys.argv[1]))); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, linear], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['weight', 'bias']", "False"]


SILERO = {
    "stft.forward_basis_buffer": "stft_conv.weight",
    **{
        f"encoder.{number}.reparam_conv.{kind}": f"conv{number + 1}.{kind}"
        for number in range(4)
        for kind in ("weight", "bias")
    },
    **{
        f"decoder.rnn.{name}": f"lstm_cell.{name}"
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    },
    **{f"decoder.decoder.2.{kind}": f"final_conv.{kind}" for kind in ("weight", "bias")},
}
"""The names of silero-vad's 16 kHz network in its TorchScript archive, and in its safetensors file."""


def test_silero_vad_and_its_twin() -> None:
    """One network under two names (the archive has one for 8 kHz too), each as its own loader gives it.

    The values of release 6.2.3 are not the same: the spectrum's basis is, all that was trained differs.
    """
    package = importlib.util.find_spec("silero_vad")
    if package is None or package.origin is None:
        pytest.skip("silero-vad is not installed")
    data = Path(package.origin).parent / "data"
    ours = tg.open(data / "silero_vad.jit")
    scripted = torch.jit.load(str(data / "silero_vad.jit"), map_location="cpu").state_dict()
    assert list(ours) == list(scripted)
    for key, tensor in scripted.items():
        assert torch.equal(ours[key].read(), tensor)
    twin = tg.open(data / "silero_vad_16k.safetensors")
    expected = load_file(data / "silero_vad_16k.safetensors")
    assert sorted(twin) == sorted(SILERO.values())
    for one, other in SILERO.items():
        assert ours[f"_model.{one}"].shape == twin[other].shape
        assert torch.equal(twin[other].read(), expected[other])
    basis = "stft.forward_basis_buffer"
    assert torch.equal(ours[f"_model.{basis}"].read(), twin[SILERO[basis]].read())
