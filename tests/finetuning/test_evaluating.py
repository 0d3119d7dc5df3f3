import pytest
import torch

from torchgraft.errors import DataError
from torchgraft.finetuning import evaluate
from torchgraft.model_info import Preprocessing


def judge(tiny, labels):
    """A model whose outputs say how bright a photo is: the bright class wins above the middle grey."""
    model = tiny(classes=len(labels), labels=labels)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.stem.bias[0] = 1.0
        model.stem.weight[0] = 1 / 27  # the mean of the pixels, 1 at mid-grey
        model.bn.weight[0] = 1.0
        for row, name in enumerate(labels):
            model.head.weight[row, 0] = {"bright": 10.0, "dark": -10.0}.get(name, 0.0)
            model.head.bias[row] = {"bright": -10.0, "dark": 10.0}.get(name, -99.0)
    return model


@pytest.mark.parametrize("labels", [("bright", "dark"), ("dark", "bright"), ("cat", "dark", "dog", "bright")])
def test_classes_are_found_by_name(tiny, make_folder, labels):
    model = judge(tiny, labels)
    found = evaluate(model, make_folder({"dark": 5, "bright": 3}))
    assert (found.count, found.accuracy) == (8, 1.0)
    assert {score.name: score.support for score in found.per_class} == {"dark": 5, "bright": 3}


def test_a_folder_may_hold_some_of_the_classes(tiny, make_folder):
    found = evaluate(judge(tiny, ("dark", "bright")), make_folder({"bright": 3}))
    assert (found.accuracy, found.classes, found.roc_auc) == (1.0, ("bright",), None)


def test_unknown_classes_are_refused(tiny, make_folder):
    with pytest.raises(DataError, match="unknown to the model: 'brght'") as caught:
        evaluate(judge(tiny, ("dark", "bright")), make_folder({"brght": 1, "dark": 1}))
    assert "'bright'" in (caught.value.hint or "")


def test_indices_are_positions_in_the_outputs(tiny, memory):
    model = judge(tiny, ("cat", "dark", "bright"))
    labels = [2 if label == "bright" else 1 for label in memory[1]]
    assert evaluate(model, (memory[0], labels)).accuracy == 1.0
    with pytest.raises(DataError, match="label 3 is out of range: there are 3 classes"):
        evaluate(model, (memory[0], [3] * 64))


def test_a_model_without_names(tiny, make_folder):
    model = tiny()
    assert evaluate(model, make_folder({"a": 2, "b": 2})).count == 4
    with pytest.raises(DataError, match="3 classes, the model 2 outputs without names"):
        evaluate(model, make_folder({"a": 1, "b": 1, "c": 1}, name="other"))


@pytest.mark.parametrize(
    ("layout", "count"),
    [
        ({"train/bright": 9, "train/dark": 9, "val/dark": 2, "test/dark": 3}, 3),
        ({"train/bright": 9, "train/dark": 9, "val/dark": 2}, 2),
        ({"train/bright": 9, "train/dark": 9}, 18),
    ],
)
def test_of_a_split_folder_the_held_out_part_counts(tiny, make_folder, layout, count):
    assert evaluate(judge(tiny, ("dark", "bright")), make_folder(layout)).count == count


def test_skipped_photos_are_named(tiny, make_folder):
    folder = make_folder({"bright": 3, "dark": 3})
    (folder / "dark" / "01.png").write_bytes(b"broken")
    model = judge(tiny, ("dark", "bright"))
    with pytest.raises(DataError, match="1 of 6"):
        evaluate(model, folder)
    found = evaluate(model, folder, unreadable="skip")
    assert (found.count, found.skipped) == (5, ("dark/01.png",))


def test_the_model_is_left_as_it_was(tiny, memory):
    model = tiny().train()
    model.bn.eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    evaluate(model, (memory[0], [0] * 63 + [1]))
    assert (model.training, model.bn.training, model.head.training) == (True, False, True)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_preprocessing_can_be_given(tiny, memory):
    dark = Preprocessing((16, 16), 1.0, "bilinear", (9.0,) * 3, (1.0,) * 3)
    labels = list(memory[1])
    model = judge(tiny, ("dark", "bright"))
    assert evaluate(model, (memory[0], labels)).accuracy == 1.0
    assert evaluate(model, (memory[0], labels), preprocessing=dark).per_class[1].recall == 0.0


def test_each_group_by_itself(tiny, memory):
    from torchgraft.finetuning.images.image_data import ImageData

    photos, labels = memory
    model = tiny(labels=("bright", "dark"))
    groups = [f"camera {index % 3}" for index in range(64)]
    found = evaluate(model, ImageData((photos, labels), groups=groups))
    assert [group.name for group in found.groups] == ["camera 0", "camera 1", "camera 2"]
    assert [group.count for group in found.groups] == [22, 21, 21]
    for place, group in enumerate(found.groups):
        alone = evaluate(model, (photos[place::3], labels[place::3]))
        assert group.metrics == pytest.approx(alone.metrics())
    assert found.to_json()["groups"][0]["count"] == 22
    assert evaluate(model, memory).groups == ()


@pytest.mark.parametrize(
    "arguments", [{"top": 0}, {"top": (1, True)}, {"threshold": 0.0}, {"task": "regression"}]
)
def test_arguments_that_make_no_sense(tiny, memory, arguments):
    with pytest.raises(DataError):
        evaluate(tiny(labels=("bright", "dark")), memory, **arguments)
