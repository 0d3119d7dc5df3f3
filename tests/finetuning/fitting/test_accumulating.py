"""Several batches make one step: as one batch of all their images would."""

import pytest
import torch

from torchgraft.finetuning import finetune

SETTINGS = {"recipe": "full", "lr": 0.02, "epochs": 2, "head_lr": 1.0, "freeze_bn": True, "augment": False}


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "weights"),  # of 52 images: with and without incomplete batches and groups
    [(8, 4, None), (26, 2, None), (13, 3, "balanced"), (5, 7, {"dark": 3.0}), (9, 100, None)],
)
def test_as_one_large_batch(tiny, memory, batch_size, accumulate, weights):
    large, small = tiny(), tiny()
    common = {**SETTINGS, "class_weights": weights, "optimizer": "sgd"}
    expected = finetune(large, memory, **common, batch_size=min(batch_size * accumulate, 52))
    found = finetune(small, memory, **common, batch_size=batch_size, accumulate=accumulate)
    for name, tensor in large.state_dict().items():
        assert torch.allclose(tensor, small.state_dict()[name], rtol=1e-4, atol=1e-6), name
    for one, other in zip(expected.history, found.history, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-5)


def test_steps_are_counted_in_groups(tiny, memory):
    steps = []
    finetune(
        tiny(),
        memory,
        **SETTINGS,
        batch_size=8,
        accumulate=3,
        on_event=lambda e: steps.append((e.step, e.total)) if e.stage == "training" else None,
    )
    assert steps == [(step, 6) for step in range(1, 7)]  # 52 images: 7 batches, 3 groups, 2 epochs
