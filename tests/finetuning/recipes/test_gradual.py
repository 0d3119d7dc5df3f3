import pytest
import torch
from torch import nn

from torchgraft.finetuning import finetune
from torchgraft.model_info import attach_info, info_of


class Deep(nn.Module):
    """Six layers and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 4, stride=4)
        self.blocks = nn.ModuleList([Block() for _ in range(5)])
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(dim=(2, 3)))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return x + self.second(torch.relu(self.first(x)))


@pytest.mark.parametrize(
    ("phases", "epochs", "learning"),
    [
        (1, 2, [7, 7]),
        (3, 4, [1, 4, 7, 7]),
        (4, 4, [1, 3, 5, 7]),
        (20, 7, [1, 2, 3, 4, 5, 6, 7]),
        (20, 2, [1, 7]),
    ],
)
def test_more_layers_learn_in_each_phase_from_the_head_down(tiny, memory, phases, epochs, learning):
    torch.manual_seed(0)
    model = Deep()
    attach_info(model, info_of(tiny()))
    layers = [model.head, *reversed(model.blocks), model.stem]
    counted: dict[int, int] = {}

    def count(event):
        if event.stage == "training":
            flags = [all(p.requires_grad for p in layer.parameters()) for layer in layers]
            assert flags == sorted(flags, reverse=True)
            counted[event.epoch] = sum(flags)

    result = finetune(
        model, memory, recipe="gradual", phases=phases, epochs=epochs, lr=0.01, batch_size=64, on_event=count
    )
    assert [counted[epoch.epoch] for epoch in result.history] == learning
    assert all(parameter.requires_grad for parameter in model.parameters())
    told = [row.phase for row in result.groups if not row.frozen]
    assert len(dict.fromkeys(told)) == len(dict.fromkeys(learning))
