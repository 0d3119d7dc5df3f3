from dataclasses import fields

import pytest

from torchgraft.cli.finetune import finetune as command
from torchgraft.errors import TrainingError
from torchgraft.finetuning.fitting.options import Fitting


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augment": "heavy"}, "augment='heavy' is none of True, False, 'light'"),
        ({"augment": 1}, "augment=1"),
        ({"optimizer": "adam"}, "optimizer='adam'"),
        ({"precision": "fp8"}, "precision='fp8'"),
        ({"mixup": -0.1}, "mixup=-0.1"),
        ({"cutmix": float("inf")}, "cutmix=inf"),
        ({"warmup": 1.0}, r"warmup=1\.0"),
        ({"clip": 0.0}, r"clip=0\.0"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"accumulate": 0}, "accumulate=0"),
        ({"accumulate": 2.0}, "accumulate=2.0"),
        ({"ema": 1.0}, "ema=1.0"),
        ({"crop_scale": (0.5, 0.2)}, "crop_scale"),
        ({"class_weights": "equal"}, "class_weights='equal'"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(TrainingError, match=message):
        Fitting(**options)


def test_every_option_is_on_the_command_line():
    there = {parameter.name for parameter in command.params}
    assert {field.name for field in fields(Fitting)} <= there
    assert set().union(*command.sections.values()) <= there
