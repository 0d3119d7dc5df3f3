import pytest
import torch

from torchgraft.errors import TrainingError
from torchgraft.finetuning import finetune
from torchgraft.finetuning.fitting.precision import precision_on

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("device", "bfloat16", "asked", "expected"),
    [
        (CPU, False, "auto", "no"),
        (CPU, False, "bf16", "bf16"),  # for who asks for it by name
        (CPU, False, "fp32", "no"),
        (GPU, True, "auto", "bf16"),
        (GPU, False, "auto", "no"),
        (GPU, True, "fp16", "fp16"),
        (GPU, True, "fp32", "no"),
    ],
)
def test_what_a_device_has(device, bfloat16, asked, expected, monkeypatch):
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: bfloat16)
    assert precision_on(device, asked) == expected


def test_what_accelerate_was_told_counts_unless_more_is_said(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert precision_on(CPU, "auto") is None
    assert precision_on(CPU, "fp32") == "no"


@pytest.mark.parametrize(
    ("device", "asked", "message"), [(CPU, "fp16", "needs a GPU"), (GPU, "bf16", "no bfloat16")]
)
def test_what_a_device_has_not(device, asked, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    with pytest.raises(TrainingError, match=message):
        precision_on(device, asked)


def test_bfloat16_is_computed_in(tiny, memory):
    dtypes = set()
    model = tiny()
    model.head.register_forward_hook(lambda module, args, output: dtypes.add(output.dtype))
    settings = {"recipe": "full", "lr": 0.02, "epochs": 1, "head_lr": 1.0}
    finetune(model, memory, **settings, precision="bf16")
    assert dtypes == {torch.bfloat16, torch.float32}  # the second when it asks what the model gives
    assert model.head.weight.dtype == torch.float32
