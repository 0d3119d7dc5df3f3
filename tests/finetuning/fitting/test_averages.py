import copy

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from torchgraft.finetuning import evaluate, finetune
from torchgraft.finetuning.fitting.averages import Averages


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("table", torch.arange(300, 400))


def moved(model: nn.Module, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for tensor in [*model.parameters(), model.norm.running_mean]:
            tensor.add_(torch.randn(tensor.shape, generator=generator))


def test_as_pytorch_averages():
    """Where the decay has reached its highest value; before, by the formula written out."""
    model = Net()
    averages = Averages(model, 0.6)
    oracle = {name: tensor.detach().clone() for name, tensor in averages.tensors.items()}
    for step in range(1, 40):
        moved(model, step)
        averages.update(step)
        decay = min(0.6, step / (step + 9))
        now = dict(model.named_parameters()) | dict(model.named_buffers())
        oracle = {name: torch.lerp(mean, now[name].detach(), 1 - decay) for name, mean in oracle.items()}
    assert oracle.keys() == averages.tensors.keys()
    assert all(torch.allclose(oracle[name], mean, atol=1e-6) for name, mean in averages.tensors.items())

    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.6))
    theirs.update_parameters(model)
    ours = Averages(model, 0.6)
    for step in range(100, 110):
        moved(model, step)
        ours.update(step)
        theirs.update_parameters(model)
    for name, parameter in theirs.module.named_parameters():
        assert torch.equal(parameter, ours.tensors[name])


def test_in_place_for_a_while_and_whole_numbers_left_alone():
    model = Net()
    averages = Averages(model, 0.9)
    moved(model, 1)
    averages.update(1)
    before = copy.deepcopy(model.state_dict())
    with averages.in_place():
        assert torch.equal(model.layer.weight, averages.tensors["layer.weight"])
        assert not torch.equal(model.layer.weight, before["layer.weight"])
        assert torch.equal(model.table, torch.arange(300, 400))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_run_validates_and_keeps_the_average(tiny, memory):
    """The best model does as the history says, and is none that the run without averages went through."""
    settings = {"recipe": "full", "lr": 0.02, "epochs": 3, "head_lr": 1.0, "augment": False}
    plain, averaged = tiny(), tiny()
    first = finetune(plain, memory, **settings)
    result = finetune(averaged, memory, **settings, ema=0.9)
    assert [e.train_loss for e in result.history] == [e.train_loss for e in first.history]
    assert [e.val_loss for e in result.history] != [e.val_loss for e in first.history]
    kept = result.history[result.best_epoch - 1]
    from torchgraft.finetuning.images import parts_of, split

    val = split(parts_of(memory)["all"], 0.2, 0)[1]
    assert abs(evaluate(averaged, val).log_loss - kept.val_loss) < 1e-5
