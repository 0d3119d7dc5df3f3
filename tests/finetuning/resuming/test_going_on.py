"""A run folder that is gone on with, and when it is not."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from torchgraft.errors import SaveError, TrainingError
from torchgraft.finetuning import finetune

SETTINGS = {
    "recipe": "full",
    "lr": 0.02,
    "epochs": 3,
    "head_lr": 1.0,
    "batch_size": 16,
    "checkpoint_every": 1,
}


class StopError(Exception):
    pass


@pytest.fixture
def stopped(tiny, memory, tmp_path) -> Path:
    """The folder of a run that failed in its second epoch: steps 3 and 4 have checkpoints."""

    def fail(event):
        if event.stage == "training" and event.step == 5:
            raise StopError

    with pytest.raises(StopError):
        finetune(tiny(), memory, **SETTINGS, out=tmp_path / "run", on_event=fail)
    return tmp_path / "run"


@pytest.fixture
def expected(tiny, memory) -> dict[str, torch.Tensor]:
    model = tiny()
    finetune(model, memory, **SETTINGS)
    return model.state_dict()


def same(model, expected) -> bool:
    return all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def test_the_last_two_are_kept_and_then_what_came_of_it(stopped, tiny, memory, expected):
    assert names(stopped) == ["step-00000003", "step-00000004"]
    model = tiny()
    finetune(model, memory, **SETTINGS, out=stopped, resume=True)
    assert same(model, expected)
    assert names(stopped) == ["phase-1"]


@pytest.mark.parametrize("damaged", [["step-00000004"], ["step-00000003", "step-00000004"]])
def test_a_damaged_checkpoint_is_left_out_with_a_warning(damaged, stopped, tiny, memory, expected, caplog):
    for name in damaged:
        (stopped / "checkpoints" / name / "optimizer.safetensors").write_bytes(b"no")
    model = tiny()
    with caplog.at_level(logging.WARNING):
        finetune(model, memory, **SETTINGS, out=stopped, resume=True)
    assert same(model, expected)
    assert caplog.text.count("is damaged") == len(damaged)
    steps = [json.loads(line)["step"] for line in (stopped / "steps.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 13))


def test_a_finished_run_gives_its_result_again(tiny, memory, tmp_path):
    first, second = tiny(), tiny()
    result = finetune(first, memory, **SETTINGS, out=tmp_path / "run")
    steps = []
    again = finetune(
        second,
        memory,
        **SETTINGS,
        out=tmp_path / "run",
        resume=True,
        on_event=lambda event: steps.append(event) if event.stage == "training" else None,
    )
    assert steps == []
    assert same(second, first.state_dict())
    assert again.history == result.history
    assert again.best_epoch == result.best_epoch
    assert again.evaluation.to_json() == result.evaluation.to_json()


def test_where_there_is_no_run_one_begins(tiny, memory, tmp_path, expected):
    model = tiny()
    finetune(model, memory, **SETTINGS, out=tmp_path / "new", resume=True)
    assert same(model, expected)


def test_a_run_without_checkpoints_begins_anew(stopped, tiny, memory, expected):
    shutil.rmtree(stopped / "checkpoints")
    model = tiny()
    finetune(model, memory, **SETTINGS, out=stopped, resume=True)
    assert same(model, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.01}, r"lr=0.01 instead of 0.02"),
        ({"epochs": 4}, r"epochs=4 instead of 3"),
        ({"ema": 0.9}, r"ema=0.9 instead of 'nothing'"),
        ({"recipe": "layerwise"}, r"recipe='layerwise' instead of 'full'"),
    ],
)
def test_other_arguments_are_named(change, message, stopped, tiny, memory):
    settings = {**SETTINGS, **change}
    if "recipe" in change:
        settings.pop("head_lr")
    with pytest.raises(TrainingError, match=message) as error:
        finetune(tiny(), memory, **settings, out=stopped, resume=True)
    assert error.value.where == str(stopped)


def test_other_data_and_another_start_are_named(stopped, tiny, memory):
    images, labels = memory
    changed = [image.copy() for image in images]
    for image in changed:
        image[0, 0, 0] ^= 1
    with pytest.raises(TrainingError, match="other training images; other validation images"):
        finetune(tiny(), (changed, labels), **SETTINGS, out=stopped, resume=True)
    model = tiny()
    with torch.no_grad():
        model.stem.weight[0, 0, 0, 0] += 1
    with pytest.raises(TrainingError, match="other weights to start from"):
        finetune(model, memory, **SETTINGS, out=stopped, resume=True)


def test_what_makes_no_difference_may_differ(stopped, tiny, memory, expected):
    model = tiny()
    finetune(model, memory, **SETTINGS | {"checkpoint_every": 2}, workers=1, out=stopped, resume=True)
    assert same(model, expected)


def test_the_hint_of_a_run_in_the_way(stopped, tiny, memory):
    with pytest.raises(SaveError) as error:
        finetune(tiny(), memory, **SETTINGS, out=stopped)
    assert "resume=True" in (error.value.hint or "")


class Drawing(torch.utils.data.Dataset):
    """Draws random numbers whenever an image is taken: with a different one each time, as users' do."""

    def __init__(self, images, labels) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index):
        noise = np.random.randint(0, 9, (20, 24, 3)) + torch.randint(0, 9, (1,)).item()
        return (self.images[index] // 2 + noise).astype(np.uint8), self.labels[index]


def test_a_dataset_that_draws_random_numbers(tiny, memory, tmp_path):
    numbers = [int(label == "bright") for label in memory[1]]
    drawing = Drawing(memory[0], numbers)
    val = (memory[0][:9], numbers[:9])
    plain, model = tiny(), tiny()
    finetune(plain, drawing, val=val, **SETTINGS)

    def fail(event):
        if event.stage == "training" and event.step == 4:
            raise StopError

    with pytest.raises(StopError):
        finetune(tiny(), drawing, val=val, **SETTINGS, out=tmp_path / "run", on_event=fail)
    finetune(model, drawing, val=val, **SETTINGS, out=tmp_path / "run", resume=True)
    assert same(model, plain.state_dict())
