import pytest
import torch
from torch import nn

from torchgraft.finetuning import finetune
from torchgraft.finetuning.memory_layout import channels_last, contiguous, gains_from_channels_last


def stack(convolutions: int) -> nn.Module:
    layers = [nn.Conv2d(4, 4, 3, padding=1) for _ in range(convolutions)]
    return nn.Sequential(nn.Conv2d(3, 4, 1), *layers)


@pytest.mark.parametrize(("convolutions", "gains"), [(0, False), (1, False), (4, False), (5, True)])
def test_who_gains(convolutions, gains):
    assert gains_from_channels_last(stack(convolutions)) is gains


def test_inside_outside_and_for_a_moment():
    model = stack(2)
    weight = model[1].weight
    with channels_last(model):
        assert not weight.is_contiguous()
        with contiguous(model):
            assert weight.is_contiguous()
        assert weight.is_contiguous(memory_format=torch.channels_last)
    assert weight.is_contiguous()
    with channels_last(model, wanted=False), contiguous(model, was_last=False):
        assert weight.is_contiguous()


@pytest.mark.parametrize("wanted", [True, False, None])
def test_images_lie_as_the_kernels_do(tiny, memory, wanted):
    seen = set()
    model = tiny()

    def look(module, args):
        if module.training:
            lasts = args[0].is_contiguous(memory_format=torch.channels_last)
            seen.add((lasts, module.weight.is_contiguous(memory_format=torch.channels_last)))

    model.stem.register_forward_pre_hook(look)
    finetune(model, memory, recipe="full", epochs=1, channels_last=wanted)
    assert seen == {(bool(wanted), bool(wanted))}
