import pytest
import torch

from torchgraft.finetuning.fitting.losses import Losses, NotFiniteError


def test_mean_and_last():
    losses = Losses(total=3.0, count=2)
    for value in (1.0, 4.0):
        losses.add(torch.tensor(value), None)
    losses.flush()
    assert (losses.mean, losses.last, losses.count) == (2.0, 4.0, 4)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_not_finite(value):
    with pytest.raises(NotFiniteError) as caught:
        Losses().add(torch.tensor(value), "step 3")
    assert caught.value.step == "step 3"
