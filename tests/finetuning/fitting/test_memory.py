import pytest
import torch

from torchgraft.errors import TrainingError
from torchgraft.finetuning import finetune
from torchgraft.finetuning.fitting.memory import memory_told

CUDA = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB"
CPU = (
    "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to allocate"
)


@pytest.mark.parametrize(
    ("error", "batch_size", "accumulate", "hint"),
    [
        (torch.OutOfMemoryError(CUDA), 32, 1, "batch_size=16, accumulate=2"),
        (RuntimeError(CPU), 7, 3, "batch_size=3, accumulate=7"),
        (MemoryError(), 2, 1, "batch_size=1, accumulate=2"),
        (RuntimeError("MPS backend out of memory"), 1, 1, "a single image is too much"),
    ],
)
def test_names_the_batch_size_and_a_smaller_one(error, batch_size, accumulate, hint):
    said = f"out of memory at batch_size={batch_size}\n"
    with pytest.raises(TrainingError, match=said) as caught, memory_told(batch_size, accumulate):
        raise error
    assert hint in (caught.value.hint or "")
    assert caught.value.__cause__ is error


def test_other_errors_stay_themselves():
    with pytest.raises(RuntimeError, match="shapes"), memory_told(4, 1):
        raise RuntimeError("shapes differ")


def test_a_model_that_is_too_large(tiny, memory):
    model = tiny()
    forward = type(model).forward

    def full(x):
        if model.training:
            raise torch.OutOfMemoryError(CUDA)
        return forward(model, x)

    model.forward = full
    with pytest.raises(TrainingError, match="batch_size=20"):
        finetune(model, memory, recipe="full", epochs=1, batch_size=20)
