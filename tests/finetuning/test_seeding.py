import random

import numpy as np
import torch

from torchgraft.finetuning.seeding import drawn, seeded


def numbers() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), torch.rand(()).item()


def test_all_three_generators_start_anew_and_are_put_back():
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = numbers()
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    with seeded(7):
        first = numbers()
    with seeded(7):
        assert numbers() == first
    assert numbers() == expected
    assert first != expected


def test_drawn_depends_on_the_key_alone():
    with drawn(1, 2, 3):
        first = numbers()
    after = numbers()
    with drawn(1, 2, 3):
        assert numbers() == first
    with drawn(1, 2, 4):
        assert numbers() != first
    assert numbers() != after
    with drawn(1):
        outer = numbers()
    with drawn(1):
        with drawn(2):
            pass
        assert numbers() == outer
