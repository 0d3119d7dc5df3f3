import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from torchgraft.errors import TrainingError
from torchgraft.finetuning import evaluate, finetune, predict
from torchgraft.model_info import attach_info, info_of


class ConvHead(nn.Module):
    """SqueezeNet's kind: the head is a 1×1 convolution, pooled after (`late`) or before it."""

    def __init__(self, late: bool) -> None:
        super().__init__()
        self.late = late
        self.stem = nn.Conv2d(3, 8, 3, stride=2)
        self.head = nn.Conv2d(8, 2, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = self.pool(torch.relu(self.head(x))) if self.late else self.head(self.pool(x))
        return x.flatten(1)


def as_a_whole(model, memory) -> np.ndarray:
    guesses = predict(model, memory[0], top=2)
    return np.array([[p for _, p in sorted(zip(g.indices, g.probabilities, strict=False))] for g in guesses])


def test_learns_and_says_what_it_did(tiny, memory):
    result = finetune(tiny(classes=5), memory)
    assert result.evaluation.accuracy == 1.0
    assert result.classes == ("bright", "dark")
    assert result.counts == {"train": 52, "val": 12, "skipped": 0}
    assert result.adapted == "head head: 5 → 2 classes"
    assert (result.trainable, result.total) == (18, 18 + 8 * 27 + 8 + 16)
    assert [epoch.epoch for epoch in result.history] == list(range(1, len(result.history) + 1))
    assert "linear-probe: accuracy 100.0%" in str(result)


def test_the_whole_model_predicts_what_the_features_promised(tiny, memory):
    """Standardising is folded into the head, so the model gives the probe's own numbers."""
    model = tiny()
    result = finetune(model, memory, val=0.3)
    again = evaluate(model, memory)
    assert again.accuracy == 1.0
    whole = as_a_whole(model, memory)
    truth = np.array([("bright", "dark").index(label) for label in memory[1]])
    assert again.log_loss == pytest.approx(-np.log(whole[np.arange(64), truth]).mean(), rel=1e-3)
    held_out = evaluate(model, memory)  # and on the validation part:
    assert held_out.count == 64
    from torchgraft.finetuning.images import parts_of, split

    val = split(parts_of(memory)["all"], 0.3, 0)[1]
    assert evaluate(model, val).log_loss == pytest.approx(result.evaluation.log_loss, rel=1e-4)


def test_the_backbone_stays_as_it_was(tiny, memory):
    model = tiny()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    finetune(model, memory)
    after = model.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"head.weight", "head.bias"}
    assert all(value.is_contiguous() for value in after.values())


@pytest.mark.parametrize("late", [False, True])
def test_heads_that_are_convolutions(memory, late, tiny):
    torch.manual_seed(0)
    model = ConvHead(late)
    attach_info(model, replace(info_of(tiny()), labels=("bright", "dark")))
    stem = model.stem.weight.clone()
    result = finetune(model, memory, **({"lr": 0.05, "epochs": 20} if late else {}))
    assert result.evaluation.accuracy > 0.9
    assert torch.equal(model.stem.weight, stem)
    assert result.trainable == 18
    assert all(p.requires_grad for p in model.parameters())
    assert any("trained in place" in note for note in result.notes) is late


def test_a_head_without_bias(tiny, memory):
    model = tiny()
    model.head = nn.Linear(8, 2, bias=False)
    result = finetune(model, memory, val=0.3)
    assert result.trainable == 16
    assert math.isfinite(result.evaluation.log_loss)


def test_cached_features_give_the_same_head(tiny, memory, tmp_path, monkeypatch):
    events = []
    plain = tiny()
    finetune(plain, memory, seed=3)
    first, second = tiny(), tiny()
    finetune(first, memory, feature_cache=tmp_path, on_event=events.append)
    assert any(event.stage == "features" for event in events)
    events.clear()
    finetune(second, memory, seed=3, feature_cache=tmp_path, on_event=events.append)
    assert not any(event.stage == "features" for event in events)
    torch.testing.assert_close(second.head.weight, plain.head.weight, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("change", ["weights", "preprocessing", "photo"])
def test_the_cache_notices_what_changed(tiny, memory, tmp_path, change):
    finetune(tiny(), memory, feature_cache=tmp_path)
    model, (photos, labels) = tiny(), memory
    if change == "weights":
        nn.init.ones_(model.stem.bias)
    elif change == "preprocessing":
        how = info_of(model).preprocessing
        attach_info(model, replace(info_of(model), preprocessing=replace(how, crop=0.5)))
    else:
        photos = [photos[0] + 1, *photos[1:]]
    totals = []
    finetune(
        model,
        (photos, labels),
        feature_cache=tmp_path,
        on_event=lambda event: totals.append(event.total) if event.stage == "features" else None,
    )
    assert set(totals) == {1 if change == "photo" else 64}


def test_features_that_are_no_numbers(tiny, memory):
    model = tiny()
    nn.init.constant_(model.stem.bias, math.nan)
    with pytest.raises(TrainingError, match="not finite"):
        finetune(model, memory)


def test_max_steps_and_epochs(tiny, memory):
    assert len(finetune(tiny(), memory, epochs=3).history) == 3
    assert len(finetune(tiny(), memory, max_steps=7, iterations=5).history) == 2


def test_the_penalty_is_searched_for_unless_it_is_given(tiny, memory):
    searched = finetune(tiny(), memory)
    assert searched.notes[0].startswith("weight_decay")
    assert searched.notes[0].endswith("chosen of 13 on the validation images")
    for options in ({"weight_decay": 0.3}, {"search": False}):
        assert finetune(tiny(), memory, **options).notes == ()
    one, other = tiny(), tiny()
    finetune(one, memory, search=False)
    finetune(other, memory, weight_decay=1.0)
    assert torch.equal(one.head.weight, other.head.weight)


def test_the_search_costs_no_run_of_the_model(tiny, memory):
    model = tiny()
    calls = []
    model.stem.register_forward_hook(lambda _, args, __: calls.append(len(args[0])))
    finetune(model, memory)
    with_search = sum(calls)
    calls.clear()
    again = tiny()
    again.stem.register_forward_hook(lambda _, args, __: calls.append(len(args[0])))
    finetune(again, memory, search=False)
    assert with_search == sum(calls)


def test_no_gradient_is_made_in_the_backbone(tiny, memory):
    """Where the head is looked for, one image is traced; after that, never."""
    model = tiny()
    seen = []

    def look(module, _args, output):
        if len(output) > 1:
            seen.append((output.requires_grad, module.training))

    model.bn.register_forward_hook(look)
    finetune(model, memory)
    assert set(seen) == {(False, False)}


@pytest.mark.parametrize("kind", ["multi-label", "regression"])
def test_other_tasks_are_fitted_to_features_too(tiny, memory, kind):
    bright = [label == "bright" for label in memory[1]]
    labels = {
        "multi-label": [["bright", "lit"] if b else ["dark"] for b in bright],
        "regression": [[3.0 if b else -1.0] for b in bright],
    }[kind]
    model = tiny(classes=3 if kind == "multi-label" else 1)
    stem = model.stem.weight.clone()
    events = []
    data = (memory[0], labels)
    result = finetune(model, data, task=kind, on_event=events.append)
    assert any(event.stage == "features" for event in events)
    assert torch.equal(model.stem.weight, stem)
    if kind == "multi-label":
        assert result.evaluation.metrics()["mean_average_precision"] > 0.99
    else:
        assert len(result.history) == 1
        assert result.evaluation.metrics()["r2"] > 0.9
