"""`adapt(labels=, class_map=)`: rows by name, by index, merged, with a background; heads of several kinds."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

from torchgraft import AdaptError, DataError, adapt, describe, info_of


def mlp(classes: int = 4) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, classes))


class Cosine(nn.Module):
    """A classifier by the angle between features and rows."""

    def __init__(self) -> None:
        super().__init__()
        self.in_features, self.out_features = 5, 4
        self.weight = nn.Parameter(torch.empty(4, 5))
        self.scale = nn.Parameter(torch.tensor([10.0]))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.orthogonal_(self.weight)
        nn.init.constant_(self.scale, 10.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * nn.functional.normalize(x) @ self.weight.T


NAMES = ["cat", "dog", "wolf", "emu"]


def test_several_old_classes_in_one_and_names_from_the_map():
    model = describe(mlp(), labels=NAMES)
    weight, bias = model[2].weight.detach().clone(), model[2].bias.detach().clone()
    adapt(model, class_map={"canine": ["dog", 2], "emu": "emu"})
    assert info_of(model).labels == ("canine", "emu")
    torch.testing.assert_close(model[2].weight[0], weight[1:3].mean(0))
    torch.testing.assert_close(model[2].bias[0], bias[1:3].mean() + math.log(2))
    assert torch.equal(model[2].weight[1], weight[3])
    adapt(model, class_map={"bird": "emu"}, modes={"merged-rows": "average"})
    assert torch.equal(model[2].weight, weight[3:])


def test_by_index_without_any_names():
    model = mlp()
    weight = model[2].weight.detach().clone()
    adapt(model, class_map=[3, 1])
    assert torch.equal(model[2].weight, weight[[3, 1]])
    assert (model[2].out_features, info_of(model).labels) == (2, None)


@pytest.mark.parametrize("known", [None, NAMES])
def test_a_background_comes_and_goes(known):
    model = mlp() if known is None else describe(mlp(), labels=known)
    weight = model[2].weight.detach().clone()
    adapt(model, class_map="with-background", modes={"rows": "zeros"})
    assert torch.equal(model[2].weight, torch.cat([torch.zeros(1, 5), weight]))
    assert info_of(model).labels == (None if known is None else ("background", *known))
    adapt(model, class_map="without-background")
    assert torch.equal(model[2].weight, weight)
    assert info_of(model).labels == (None if known is None else tuple(known))


@pytest.mark.parametrize("mode", ["mean", "mean-cov"])
def test_a_cosine_head_keeps_unit_rows_and_its_scale(mode):
    model = nn.Sequential(nn.Linear(6, 5), Cosine())
    with torch.no_grad():
        model[1].scale.fill_(7.0)
        model[1].weight.copy_(nn.functional.normalize(torch.randn(4, 5)))
    weight = model[1].weight.detach().clone()
    adapt(describe(model, labels=NAMES), class_map={"canine": ["dog", "wolf"], "emu": "emu", "new": None},
          modes={"rows": mode})  # fmt: skip
    torch.testing.assert_close(model[1].weight.norm(dim=1), torch.ones(3))
    assert torch.allclose(model[1].weight[1], weight[3])
    torch.testing.assert_close(model[1].weight[0], nn.functional.normalize(weight[1:3].mean(0), dim=0))
    assert model[1].scale.item() == 7.0


def test_a_convolution_head():
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 4, 1))
    weight = model[1].weight.detach().clone()
    adapt(model, class_map=[0, [1, 2]], example=torch.rand(1, 3, 8, 8))
    torch.testing.assert_close(model[1].weight, torch.stack([weight[0], weight[1:3].mean(0)]))


def test_new_rows_with_no_class_in_common():
    model = describe(mlp(), labels=NAMES)
    weight = model[2].weight.detach().clone()
    adapt(model, labels=["x", "y"], modes={"rows": "mean"})
    torch.testing.assert_close(model[2].weight, weight.mean(0).expand(2, -1))
    step = info_of(model).surgery[0]
    assert json.loads(json.dumps(dict(step))) == {"num_classes": 2, "head": ["2"], "modes": {"rows": "mean"}}
    twin = mlp()
    adapt(twin, **step)
    twin.load_state_dict(model.state_dict())


def test_a_mode_for_one_tensor():
    model = describe(mlp(), labels=NAMES)
    bias = model[2].bias.detach().clone()
    adapt(model, labels=["cat", "x"], modes={"2.bias": "mean", "2.weight": "zeros"})
    torch.testing.assert_close(model[2].bias, torch.stack([bias[0], bias.mean()]))
    assert not model[2].weight[1].any()


def test_synset_ids_find_names():
    pytest.importorskip("timm")
    model = describe(mlp(), labels=["n02123045", "n02084071", "n01440764", "n01443537"])
    weight = model[2].weight.detach().clone()
    adapt(model, labels=["goldfish", "tabby cat", "own"])
    assert torch.equal(model[2].weight[:2], weight[[3, 0]])
    adapt(model, labels=["n02123045", "n01443537"])
    assert torch.equal(model[2].weight, weight[[0, 3]])


def test_labels_from_a_file(tmp_path):
    (tmp_path / "names.txt").write_text("emu\ncat\n")
    model = describe(mlp(), labels=NAMES)
    weight = model[2].weight.detach().clone()
    adapt(model, labels=tmp_path / "names.txt")
    assert torch.equal(model[2].weight, weight[[3, 0]])
    with pytest.raises(DataError, match="No such file"):
        adapt(model, labels="emu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_map": ["cat"]}, "names are not known"),
        ({"class_map": [0, 1], "num_classes": 3}, "class_map describes 2"),
        ({"class_map": {"a": 9}}, "no old class 9"),
        ({"class_map": [0], "modes": {"rows": "median"}}, "no mode 'median'"),
        ({"num_classes": 3, "modes": {"rwos": "mean"}}, "neither a kind of step nor a tensor"),
    ],
)
def test_refused_and_untouched(arguments, message):
    model = mlp()
    before = list(model.parameters())
    with pytest.raises(AdaptError, match=message):
        adapt(model, **arguments)
    assert all(a is b for a, b in zip(model.parameters(), before, strict=True))
