import pytest
import torch

from torchgraft.errors import TrainingError
from torchgraft.finetuning import finetune
from torchgraft.finetuning.fitting.mixing import Mixing, mixing_for
from torchgraft.finetuning.fitting.options import Fitting
from torchgraft.finetuning.tasks.segmentation import Segmentation


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.5, 0.0), (0.0, 1.0), (0.5, 1.0)])
def test_targets_say_how_much_of_each_image_there_is(mixup, cutmix):
    """Image i has the value of its class everywhere: what the mean of a mixed one is, its target must say."""
    classes = torch.tensor([0, 1, 2, 1])
    inputs = classes.float()[:, None, None, None].expand(4, 3, 16, 16).clone()
    mixing = Mixing(mixup, cutmix, classes=3, seed=1)
    for step in range(20):
        mixed, shares = mixing(inputs, classes, step)
        assert shares.shape == (4, 3)
        assert shares.sum(dim=1) == pytest.approx(torch.ones(4))
        expected = (shares * torch.arange(3.0)).sum(dim=1)
        assert torch.allclose(mixed.mean(dim=(1, 2, 3)), expected, atol=1e-5)


def test_a_step_is_mixed_the_same_again_whatever_was_drawn_between():
    inputs, classes = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 0, 1])
    mixing = Mixing(0.5, 1.0, classes=2, seed=1)
    first = [mixing(inputs, classes, step)[0] for step in range(6)]
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    again = [mixing(inputs, classes, step)[0] for step in range(6)]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert len({one[0, 0, 0, 0].item() for one in first}) > 1


def test_a_run_learns_from_mixed_images(tiny, memory):
    settings = {"recipe": "full", "lr": 0.02, "epochs": 6, "head_lr": 1.0, "label_smoothing": 0.1}
    result = finetune(tiny(), memory, **settings, mixup=0.2, cutmix=1.0)
    assert result.evaluation.accuracy > 0.9


def test_masks_can_not_be_mixed():
    with pytest.raises(TrainingError, match="cutmix is for classes, and the task is 'segmentation'"):
        mixing_for(Fitting(cutmix=1.0), Segmentation(), classes=2, seed=0)
    assert mixing_for(Fitting(), Segmentation(), classes=2, seed=0) is None
