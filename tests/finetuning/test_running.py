import json

import numpy as np
import pytest
import torch
from torch import nn

from torchgraft.errors import DataError, TrainingError
from torchgraft.finetuning import Event, FinetuneResult, finetune, image_folder
from torchgraft.model_info import info_of


def test_a_folder(tiny, make_folder):
    model = tiny(classes=7)
    result = finetune(model, make_folder({"bright": 20, "dark": 20}))
    assert result.evaluation.accuracy == 1.0
    assert info_of(model).labels == ("bright", "dark")


def test_a_split_folder_keeps_its_split(tiny, make_folder):
    folder = make_folder({"train/bright": 12, "train/dark": 12, "val/dark": 4, "test/dark": 9})
    result = finetune(tiny(), folder, val=0.5)
    assert result.counts == {"train": 24, "val": 4, "skipped": 0}


def test_validation_data_of_its_own(tiny, make_folder, memory):
    folder = make_folder({"dark": 3})
    result = finetune(tiny(), memory, val=folder)
    assert result.counts == {"train": 64, "val": 3, "skipped": 0}
    other = make_folder({"grey": 3}, name="other")
    with pytest.raises(DataError, match="'grey'"):
        finetune(tiny(), memory, val=other)


def test_a_model_that_knows_the_classes_keeps_its_head_and_order(tiny, memory):
    model = tiny(labels=("dark", "bright"))
    head = model.head
    result = finetune(model, memory)
    assert result.classes == info_of(model).labels == ("dark", "bright")
    assert result.adapted == ""
    assert model.head is head
    assert result.evaluation.accuracy == 1.0


def test_a_model_of_other_classes_is_adapted_though_their_number_is_the_same(tiny, memory):
    model = tiny(labels=("cat", "dog"))
    result = finetune(model, memory)
    assert result.adapted == "head head: 2 → 2 classes"
    assert info_of(model).labels == ("bright", "dark")


@pytest.mark.parametrize("recipe", ["linear-probe", "full"])
def test_events_tell_the_run(tiny, memory, recipe):
    events: list[Event] = []
    finetune(tiny(), memory, recipe=recipe, epochs=2, on_event=events.append)
    stages = list(dict.fromkeys(event.stage for event in events))
    expected = {
        "linear-probe": ["reading", "groups", "features", "epoch"],
        "full": ["reading", "groups", "training", "validating", "epoch"],
    }
    assert stages == expected[recipe]
    for stage in stages:
        last = [event for event in events if event.stage == stage][-1]
        assert last.step == last.total
    assert [event.seconds for event in events] == sorted(event.seconds for event in events)
    epochs = [event for event in events if event.stage == "epoch"]
    assert [event.epoch for event in epochs] == [1, 2]
    assert {"loss", "accuracy", "balanced_accuracy"} <= set(epochs[0].val)


def test_result_as_plain_data(tiny, memory):
    result = finetune(tiny(), memory, epochs=2)
    assert isinstance(result, FinetuneResult)
    data = json.loads(json.dumps(result.to_json(), allow_nan=False))
    named = {"epoch", "train_loss", "val_loss", "val_accuracy", "val_balanced_accuracy", "lr", "seconds"}
    assert named <= data["history"][0].keys()
    assert data["evaluation"]["accuracy"] == 1.0
    assert data["counts"] == {"train": 52, "val": 12, "skipped": 0}


def test_skipped_photos_are_counted_and_named(tiny, make_folder):
    folder = make_folder({"bright": 10, "dark": 10})
    (folder / "dark" / "03.png").write_bytes(b"broken")
    with pytest.raises(DataError, match="1 of 20 images"):
        finetune(tiny(), folder)
    result = finetune(tiny(), folder, unreadable="skip")
    assert result.counts["skipped"] == 1
    assert result.skipped == ("dark/03.png",)
    assert "1 skipped" in str(result)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"recipe": "magic"}, TrainingError, "no recipe 'magic'"),
        ({"augment": True}, TrainingError, "can't use the option 'augment'"),
        ({"epochs": 0}, TrainingError, "epochs=0"),
        ({"batch_size": 2.5}, TrainingError, "batch_size=2.5"),
        ({"lr": -1.0}, TrainingError, "lr=-1.0"),
        ({"lr": float("nan")}, TrainingError, "lr=nan"),
        ({"weight_decay": -0.1}, TrainingError, "weight_decay=-0.1"),
        ({"val": 1.5}, DataError, "val=1.5"),
        ({"unreadable": "ignore"}, DataError, "unreadable='ignore'"),
    ],
)
def test_arguments_that_make_no_sense(tiny, memory, arguments, error, message):
    model = tiny()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(error, match=message):
        finetune(model, memory, **arguments)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a"] * 64, "only one class, 'a'"),
        (["a"] * 63 + ["b"], "class 'b' is too small"),
        ([0] * 63, "64 images, but 63 labels"),
    ],
)
def test_labels_that_can_not_be_learned(tiny, memory, labels, message):
    with pytest.raises(DataError, match=message):
        finetune(tiny(), (memory[0], labels))


def test_a_model_that_is_no_classifier(tiny, memory):
    class Maps(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3)
            self.head = nn.Conv2d(4, 2, 1)

        def forward(self, x):
            return self.head(self.stem(x))

    from torchgraft.model_info import attach_info

    model = Maps()
    attach_info(model, info_of(tiny()))
    with pytest.raises(TrainingError, match="not class scores"):
        finetune(model, memory)


def test_image_folder_is_data_too(tiny, make_folder):
    images = image_folder(make_folder({"bright": 10, "dark": 10}))
    assert finetune(tiny(), images.subset(range(4, 20))).counts["train"] == 13


def test_tuple_outputs_and_logits(tiny, memory):
    from types import SimpleNamespace

    inner = tiny()
    expected = finetune(inner, memory).evaluation.log_loss
    for wrap in (lambda x: (x, None), lambda x: SimpleNamespace(logits=x), lambda x: {"logits": x}):
        model = tiny()
        plain = type(model).forward
        model.forward = lambda x, m=model, w=wrap, f=plain: w(f(m, x))
        assert finetune(model, memory).evaluation.log_loss == pytest.approx(expected, rel=1e-5)


def test_labels_of_numpy_and_tensor_images(tiny, memory):
    stacked = torch.from_numpy(np.stack(memory[0]).transpose(0, 3, 1, 2).copy())
    labels = np.array([label == "bright" for label in memory[1]], dtype=np.int64)
    result = finetune(tiny(), (stacked, labels))
    assert result.classes == ("0", "1")
    assert result.evaluation.accuracy == 1.0
