import pytest
from accelerate.tracking import GeneralTracker

from torchgraft.errors import MissingDependencyError, TrainingError
from torchgraft.finetuning import finetune
from torchgraft.finetuning.runs.tracking import paced

SETTINGS = {"recipe": "full", "lr": 0.02, "epochs": 2, "head_lr": 1.0, "batch_size": 16}


class Noting(GeneralTracker):
    name = "noting"
    requires_logging_directory = False

    def __init__(self) -> None:
        super().__init__()
        self.config: dict = {}
        self.values: list[tuple[int, dict]] = []
        self.finished = 0

    @property
    def tracker(self):
        return self

    def store_init_configuration(self, values):
        self.config = values

    def log(self, values, step=None, **_):
        self.values.append((step, values))

    def finish(self):
        self.finished += 1


def test_what_a_tracker_hears(tiny, memory):
    tracker = Noting()
    result = finetune(tiny(), memory, **SETTINGS, track=[tracker])
    epochs = [(step, values) for step, values in tracker.values if "epoch" in values]
    assert [step for step, _ in epochs] == [4, 8]
    assert [values["val/loss"] for _, values in epochs] == [epoch.val_loss for epoch in result.history]
    steps = [values for _, values in tracker.values if "train/step_loss" in values]
    assert steps
    assert {"lr/head", "lr/backbone"} <= steps[0].keys()
    assert tracker.config["lr"] == 0.02
    assert tracker.finished == 1
    finetune(tiny(), memory, **SETTINGS)
    assert len(tracker.values) == len(epochs) + len(steps)


def test_trackers_that_are_not_there(tiny, memory, monkeypatch):
    with pytest.raises(TrainingError, match="no tracker 'tensorbord'"):
        finetune(tiny(), memory, **SETTINGS, track="tensorbord")
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", list)
    with pytest.raises(MissingDependencyError, match="needs wandb") as error:
        finetune(tiny(), memory, **SETTINGS, track=["wandb"])
    assert error.value.hint == "pip install wandb"


def test_paced():
    heard = []
    log = paced(lambda values, step: heard.append(step))
    for step in range(100):
        log({}, step)
    assert heard[0] == 0
    assert len(heard) < 100
