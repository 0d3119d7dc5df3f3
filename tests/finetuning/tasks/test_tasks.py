"""The register of tasks, and what all of them promise."""

import numpy as np
import pytest
import torch

from torchgraft.errors import TrainingError
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.tasks import TASKS, task_named, task_of, task_to_measure

MASK = np.array([[0, 1], [1, 255]], np.uint8)
LABELS = {"classes": (1, 0), "multi-label": ((0, 1), ()), "regression": ((1.0, 5.0), (2.0, 9.0)),
          "segmentation": (MASK, MASK)}  # fmt: skip


def images(task: str) -> Images:
    return Images(["a", "b"], LABELS[task], ("x", "y"), ("a", "b"), task)


def targets(task: str) -> torch.Tensor:
    learned = task_of(images(task))
    raw = [torch.from_numpy(images(task).mask(i)) for i in (0, 1)] if task == "segmentation" else LABELS[task]
    return torch.stack([torch.as_tensor(learned.target(label)) for label in raw])


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("measuring", [False, True])
def test_what_comes_of_a_batch_can_be_measured_and_ranked(task, measuring):
    found = images(task)
    learned = task_to_measure(found, top=(5,), threshold=0.5) if measuring else task_of(found)
    assert learned.name == task
    output = torch.randn(2, 2, 2, 2) if task == "segmentation" else torch.randn(2, 2)
    outputs = learned.outputs(output)
    loss = learned.loss(outputs, targets(task))
    assert loss.ndim == 0
    outcomes = learned.outcome(outputs, targets(task))
    assert len(outcomes) == 2
    measured = learned.measure(outcomes, found, found.classes, skipped=("z",))
    assert (measured.count, measured.skipped, measured.classes) == (2, ("z",), ("x", "y"))
    assert measured.metrics()[measured.loss_name] == measured.loss
    if not (measuring and task == "regression"):  # then it is not known what the loss was divided by
        assert measured.loss == pytest.approx(float(loss), rel=1e-4)
    assert measured.to_json()["task"] == task
    assert str(measured) == measured.summary()
    assert len(measured.mistakes) <= 2
    better = {**measured.metrics(), "loss": measured.loss - 1.0}
    assert learned.rank(better) > learned.rank({**measured.metrics(), "loss": measured.loss})


@pytest.mark.parametrize("task", [name for name in TASKS if task_named(name).mixes])
def test_images_can_be_mixed(task):
    """The loss of a blend lies between the losses of what it is blended from."""
    learned = task_of(images(task))
    both = targets(task)
    outputs = torch.randn(1, 2)
    if task == "classes":
        both = torch.nn.functional.one_hot(both, 2).float()
        alone = [float(learned.loss(outputs, row[None])) for row in both]
        assert float(learned.loss(outputs, both.mean(0, keepdim=True))) == pytest.approx(
            sum(alone) / 2, rel=1e-5
        )
    elif task == "multi-label":
        alone = [float(learned.loss(outputs, row[None])) for row in both]
        assert float(learned.loss(outputs, both.mean(0, keepdim=True))) == pytest.approx(
            sum(alone) / 2, rel=1e-5
        )
    else:
        assert float(learned.loss(both.mean(0, keepdim=True), both.mean(0, keepdim=True))) == 0.0


def test_no_such_task():
    with pytest.raises(TrainingError, match=r"'clases'\n.*classes, multi-label, regression, segmentation"):
        task_named("clases")
