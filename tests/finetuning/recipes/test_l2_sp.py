"""The oracle is the formula of Li, Grandvalet, Davoine (2018), differentiated by hand."""

import torch
from torch import nn

from torchgraft.finetuning import finetune
from torchgraft.finetuning.recipes.l2_sp import distance_penalty


def test_the_penalty_and_its_gradient():
    torch.manual_seed(0)
    backbone = [nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(4))]
    head = [nn.Parameter(torch.randn(2, 3))]
    start = [parameter.detach().clone() for parameter in backbone]
    penalty = distance_penalty(backbone, head, alpha=0.3, beta=0.02)
    torch.testing.assert_close(penalty(), 0.01 * head[0].square().sum())
    with torch.no_grad():
        for parameter in backbone:
            parameter.add_(torch.randn_like(parameter))
    value = penalty()
    away = sum((now - then).square().sum() for now, then in zip(backbone, start, strict=True))
    torch.testing.assert_close(value, 0.15 * away + 0.01 * head[0].square().sum())
    value.backward()
    for now, then in zip(backbone, start, strict=True):
        torch.testing.assert_close(now.grad, 0.3 * (now - then).detach())
    torch.testing.assert_close(head[0].grad, 0.02 * head[0].detach())


def test_it_holds_the_backbone_where_it_was(tiny, memory):
    def moved(alpha: float) -> float:
        model, start = tiny(), tiny()
        options = {"epochs": 3, "lr": 0.02, "head_lr": 1.0, "beta": 0.0, "clip": None, "optimizer": "sgd"}
        finetune(model, memory, recipe="l2-sp", alpha=alpha, **options)
        return float((model.stem.weight - start.stem.weight).detach().norm())

    assert moved(10.0) < 0.5 * moved(0.0)
