"""The article that started this project, snippet by snippet: each hand recipe, and what is done instead.

Loading a state dict; loading a whole pickled model; filtering a ResNet-152's weights into a changed model;
models by name with a weights file; other input channels and classes without renaming a layer. Wherever the
recipe works, the result here is the same; where it fails silently, here it does not.
"""

from __future__ import annotations

import re
import sys
from collections import OrderedDict
from importlib import import_module
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

import torchgraft as tg
from torchgraft import CorruptCheckpointError, CoverageError, MatchError, UnknownModelError

State = dict[str, torch.Tensor]


def kept(model: nn.Module) -> State:
    return {key: tensor.clone() for key, tensor in model.state_dict().items()}


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[key]) for key, tensor in one.items())


def by_hand(model: nn.Module, pretrained: State) -> int:
    """The article's recipe; gives how many tensors it loaded."""
    model_dict = model.state_dict()
    pretrained_dict = {k: v for k, v in pretrained.items() if k in model_dict}
    model_dict.update(pretrained_dict)
    model.load_state_dict(model_dict)
    return len(pretrained_dict)


def stirred(model: nn.Module) -> nn.Module:
    """With batch statistics as after training, so that a mix-up of layers shows in the outputs."""
    generator = torch.Generator().manual_seed(7)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                tensor.data = torch.rand(tensor.shape, generator=generator) + 0.5
            for tensor in (module.bias, module.running_mean):
                tensor.data = torch.randn(tensor.shape, generator=generator) * 0.1
    return model.eval()


def picture(channels: int = 3) -> torch.Tensor:
    return torch.rand(2, channels, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def resnet152(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """torchvision's ResNet-152 and its state dict in a file."""
    model = stirred(torchvision.models.resnet152())
    path = tmp_path_factory.mktemp("weights") / "resnet152.pth"
    torch.save(model.state_dict(), path)
    return model, path


def test_a_state_dict_is_loaded(tmp_path):
    trained = stirred(torchvision.models.resnet18())
    torch.save(trained.state_dict(), tmp_path / "params.pkl")
    recipe, ours = torchvision.models.resnet18(), torchvision.models.resnet18()
    recipe.load_state_dict(torch.load(tmp_path / "params.pkl"))
    report = tg.graft(ours, tmp_path / "params.pkl")
    assert same(kept(ours), kept(recipe))
    assert report.plan.counts["loaded"] == len(ours.state_dict())


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_model_is_loaded_though_its_class_is_gone(zipped, tmp_path, monkeypatch):
    (tmp_path / "lost_code.py").write_text(
        "from torchvision.models.resnet import ResNet\n\nclass Lost(ResNet):\n    pass\n"
    )
    with monkeypatch.context() as importable:
        importable.syspath_prepend(str(tmp_path))
        trained = stirred(import_module("lost_code").Lost(Bottleneck, [1, 1, 1, 1], num_classes=5))
        torch.save(trained, tmp_path / "model.pkl", _use_new_zipfile_serialization=zipped)
    monkeypatch.delitem(sys.modules, "lost_code")
    with pytest.raises(ModuleNotFoundError):
        torch.load(tmp_path / "model.pkl", weights_only=False)
    ours = ResNet(Bottleneck, [1, 1, 1, 1], num_classes=5).eval()
    tg.graft(ours, tmp_path / "model.pkl")
    assert same(kept(ours), kept(trained))
    assert "lost_code.Lost" in tg.open(tmp_path / "model.pkl").classes


class Changed(ResNet):
    """The article's own network: ResNet-152's layer names, a new layer, another classifier."""

    def __init__(self) -> None:
        super().__init__(Bottleneck, [3, 8, 36, 3])
        self.convtranspose1 = nn.ConvTranspose2d(2048, 64, 3, bias=False)
        self.fclass = nn.Linear(64, 9)
        del self.fc

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fclass(self.convtranspose1(x).mean((2, 3)))


def test_a_changed_network_takes_what_it_shares(resnet152):
    model, path = resnet152
    ours, recipe = Changed(), Changed()
    recipe.load_state_dict(ours.state_dict())
    before = kept(ours)
    with pytest.raises(CoverageError, match=r"convtranspose1\.weight") as caught:
        tg.graft(ours, path)
    assert same(kept(ours), before)
    assert "allow_fresh=['convtranspose1', 'fclass']" in str(caught.value.hint)

    plan = tg.plan(ours, path, allow_fresh=["convtranspose1", "fclass"])
    plan.apply()
    assert by_hand(recipe, model.state_dict()) == plan.counts["loaded"] == 930
    assert same(kept(ours), kept(recipe))
    assert [entry.name for entry in plan.sources if entry.status == "unused"] == ["fc.weight", "fc.bias"]


def test_dropped_layers_are_named(resnet152):
    model, path = resnet152
    short = nn.Sequential(OrderedDict(list(ResNet(Bottleneck, [3, 8, 36, 3]).named_children())[:7]))
    plan = tg.plan(short, path)
    plan.apply()
    assert all(torch.equal(tensor, model.state_dict()[key]) for key, tensor in short.state_dict().items())
    unused = {entry.name.partition(".")[0] for entry in plan.sources if entry.status == "unused"}
    assert unused == {"layer4", "fc"}


def test_where_names_differ_the_recipe_loads_nothing_and_says_nothing(resnet152):
    model, path = resnet152
    recipe, ours = (nn.ModuleDict({"module": torchvision.models.resnet152()}) for _ in range(2))
    before = kept(recipe)
    assert by_hand(recipe, model.state_dict()) == 0
    assert same(kept(recipe), before)
    tg.graft(ours, path)
    assert same(kept(ours["module"]), kept(model))


def test_where_a_size_differs_the_recipe_leaves_a_half_written_model(resnet152):
    model, path = resnet152
    recipe, ours = torchvision.models.resnet152(num_classes=21), torchvision.models.resnet152(num_classes=21)
    before, fresh = kept(recipe), kept(ours)
    with pytest.raises(RuntimeError, match="size mismatch"):
        by_hand(recipe, model.state_dict())
    assert not same(kept(recipe), before)
    plan = tg.graft(ours, path).plan
    expected = kept(model) | {"fc.weight": fresh["fc.weight"], "fc.bias": fresh["fc.bias"]}
    assert same(kept(ours), expected)
    assert [entry.name for entry in plan if entry.status == "fresh"] == ["fc.weight", "fc.bias"]


@pytest.mark.parametrize("name", ["resnet18", "alexnet", "squeezenet1_0", "densenet161"])
def test_a_model_by_name_with_a_weights_file(name, tmp_path):
    trained = stirred(torchvision.models.get_model(name))
    torch.save(trained.state_dict(), tmp_path / "weights.pth")
    ours = tg.create_model(f"torchvision/{name}", weights=tmp_path / "weights.pth")
    with torch.no_grad():
        assert torch.equal(ours(picture()), trained(picture()))


@pytest.mark.parametrize("name", ["densenet121", "densenet161"])
def test_densenets_published_files_have_old_names(name, tmp_path):
    """`denselayer1.norm.1.weight` for `denselayer1.norm1.weight`, in the container of that time."""
    trained = stirred(torchvision.models.get_model(name))
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|relu|conv))(?=[12]\.)", r"\1.", key): tensor
        for key, tensor in trained.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "densenet.pth", _use_new_zipfile_serialization=False)
    assert by_hand(torchvision.models.get_model(name), old) < len(old) // 4
    ours = tg.create_model(f"torchvision/{name}", weights=tmp_path / "densenet.pth")
    with torch.no_grad():
        assert torch.equal(ours(picture()), trained(picture()))


@pytest.mark.parametrize(
    ("mode", "classes"), [("repeat", 21), ("repeat", 10), ("mean", 10), ("zeros", 21), ("sum", 10)]
)
def test_four_channels_and_other_classes_without_a_new_name(mode, classes, tmp_path):
    """The article exchanges `conv1` for a new layer, and so loses its weights; here RGB still counts."""
    trained = stirred(torchvision.models.resnet18())
    torch.save(trained.state_dict(), tmp_path / "resnet18.pth")
    ours = tg.create_model(
        "torchvision/resnet18",
        weights=tmp_path / "resnet18.pth",
        in_channels=4,
        num_classes=classes,
        in_mode=mode,
    )
    assert [name for name, _ in ours.named_modules()] == [name for name, _ in trained.named_modules()]
    assert (ours.conv1.in_channels, ours.fc.out_features) == (4, classes)
    old, new = trained.conv1.weight, ours.conv1.weight
    expected = {
        "repeat": torch.cat([old, old[:, :1]], 1) * 3 / 4,
        "mean": torch.cat([old, old.mean(1, keepdim=True)], 1) * 3 / 4,
        "zeros": torch.cat([old, torch.zeros_like(old[:, :1])], 1),
    }
    if mode in expected:
        torch.testing.assert_close(new, expected[mode])
    grey = picture(1)
    if mode in ("mean", "sum"):  # a grey picture gives what it gave
        flat = torch.ones(1, 1, 32, 32)
        torch.testing.assert_close(
            ours.conv1(flat.expand(-1, 4, -1, -1)), trained.conv1(flat.expand(-1, 3, -1, -1))
        )
    if mode == "zeros":
        torch.testing.assert_close(ours.conv1(torch.cat([picture(), grey], 1)), trained.conv1(picture()))
    untouched = [key for key in kept(trained) if key not in ("conv1.weight", "fc.weight", "fc.bias")]
    assert all(torch.equal(kept(ours)[key], kept(trained)[key]) for key in untouched)

    ours.train()
    loss = nn.functional.cross_entropy(ours(picture(4)), torch.tensor([0, classes - 1]))
    loss.backward()
    assert all(
        parameter.grad is not None and parameter.grad.isfinite().all() for parameter in ours.parameters()
    )
    assert ours.conv1.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("truncated", CorruptCheckpointError, "truncated"),
        ("of another model", MatchError, "do not fit together"),
        ("not a checkpoint", tg.CheckpointError, "bad.pth"),
    ],
)
def test_bad_input_is_one_clear_error_and_the_model_is_untouched(content, error, message, tmp_path):
    model = torchvision.models.resnet18()
    before = kept(model)
    torch.save(model.state_dict(), tmp_path / "bad.pth")
    if content == "truncated":
        data = (tmp_path / "bad.pth").read_bytes()
        (tmp_path / "bad.pth").write_bytes(data[: len(data) // 2])
    elif content == "of another model":
        torch.save({"encoder.a": torch.rand(3, 5), "encoder.b": torch.rand(7)}, tmp_path / "bad.pth")
    else:
        (tmp_path / "bad.pth").write_bytes(b"<html>404</html>" * 100)
    with pytest.raises(error, match=message) as caught:
        tg.graft(model, tmp_path / "bad.pth")
    assert caught.value.hint
    assert same(kept(model), before)


def test_a_wrong_model_name_is_one_clear_error():
    with pytest.raises(UnknownModelError, match="torchvision has no model") as caught:
        tg.create_model("torchvision/resnet153")
    assert '"torchvision/resnet152"' in str(caught.value.hint)
