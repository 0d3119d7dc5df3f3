"""The oracle is timm's `param_groups_layer_decay`."""

from dataclasses import replace

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay

from torchgraft.finetuning import Event, finetune
from torchgraft.finetuning.fitting.optimizers import optimizer_named
from torchgraft.model_info import Preprocessing, attach_info, info_of

HOW = Preprocessing(size=(32, 32), crop=1.0, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny_patch16_224", {"img_size": 32, "depth": 3, "embed_dim": 24}),
        ("resnet18", {}),
        ("efficientnet_lite0", {}),
    ],
)
def test_each_parameter_has_the_rate_and_the_decay_that_timm_gives_it(memory, monkeypatch, name, options):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=2, **options)
    attach_info(model, replace(info_of(model), labels=("bright", "dark"), preprocessing=HOW))
    expected = {}
    exempt = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()
    for group in param_groups_layer_decay(model, 0.05, exempt, layer_decay=0.7):
        for parameter in group["params"]:
            expected[parameter] = (0.01 * group["lr_scale"], group["weight_decay"])

    groups = []

    def watch(kind, given):
        groups.extend(given)
        return optimizer_named(kind, given)

    monkeypatch.setattr("torchgraft.finetuning.fitting.phase.optimizer_named", watch)
    events: list[Event] = []
    finetune(
        model,
        memory,
        recipe="layerwise",
        layer_decay=0.7,
        lr=0.01,
        weight_decay=0.05,
        max_steps=1,
        freeze_bn=False,
        on_event=events.append,
    )
    ours = {p: (group.lr, group.weight_decay) for group in groups for p in group.parameters}
    assert ours.keys() == expected.keys()
    for parameter, pair in expected.items():
        assert ours[parameter] == pytest.approx(pair)
    (rows,) = [event.groups for event in events if event.stage == "groups"]
    assert [(row.name, row.lr) for row in rows] == [(group.name, group.lr) for group in groups]
