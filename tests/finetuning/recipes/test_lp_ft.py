import pytest
import torch

from torchgraft.finetuning import finetune


def test_it_is_a_probe_and_then_a_full_fine_tune(tiny, memory):
    """The same as the two recipes one after the other, on batches of all images, whose order is no matter."""
    # not AdamW: the gradient of a bias under a norm is rounding errors alone, which it makes large
    alike = {"epochs": 2, "lr": 0.01, "augment": False, "batch_size": 64, "optimizer": "sgd"}
    both, apart = tiny(), tiny()
    result = finetune(both, memory, recipe="lp-ft", search=False, **alike)
    probe = finetune(apart, memory, recipe="linear-probe", search=False)
    full = finetune(apart, memory, recipe="full", head_lr=1.0, **alike)
    assert [epoch.epoch for epoch in result.history] == list(range(1, len(probe.history) + 3))
    assert [epoch.val for epoch in result.history[:-2]] == [epoch.val for epoch in probe.history]
    for ours, theirs in zip(result.history[-2:], full.history, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-4)
        assert ours.val == pytest.approx(theirs.val, rel=1e-4)
    assert result.trainable == full.trainable
    assert [row.phase for row in result.groups] == ["probe"] * 2 + ["full"] * 4


def test_what_the_second_part_starts_from_is_the_probe(tiny, memory):
    """With a rate of next to nothing it ends where the probe did."""
    both, probe = tiny(), tiny()
    finetune(both, memory, recipe="lp-ft", epochs=1, lr=1e-12, weight_decay=0.0, freeze_bn=True)
    finetune(probe, memory, recipe="linear-probe")
    for name, value in probe.state_dict().items():
        torch.testing.assert_close(both.state_dict()[name], value, rtol=1e-5, atol=1e-6)


def test_the_best_epoch_may_be_the_probes(tiny, memory):
    """A rate that ruins the model: the probe's weights are what is kept, and patience counts anew."""
    both, probe = tiny(), tiny()
    result = finetune(both, memory, recipe="lp-ft", epochs=9, lr=0.5, clip=None, patience=3, augment=False)
    first = finetune(probe, memory, recipe="linear-probe", patience=3)
    if result.best_epoch <= len(first.history):
        assert all(torch.equal(probe.state_dict()[k], v) for k, v in both.state_dict().items())
        assert len(result.history) == len(first.history) + 3
    assert result.evaluation.log_loss <= first.evaluation.log_loss + 1e-6
