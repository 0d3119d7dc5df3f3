import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from torchgraft.errors import TrainingError
from torchgraft.finetuning.fitting.class_weighting import amount, class_weighting
from torchgraft.finetuning.images import parts_of


def images(labels: list[str]):
    return parts_of(([np.zeros((4, 4, 3), dtype=np.uint8)] * len(labels), labels))["all"]


def test_balanced_as_scikit_learn():
    labels = ["a"] * 3 + ["b"] * 10 + ["c"]
    expected = compute_class_weight("balanced", classes=np.array(["a", "b", "c"]), y=labels)
    assert class_weighting(images(labels), "balanced").numpy() == pytest.approx(expected)


def test_by_name():
    found = class_weighting(images(["a", "b", "c"]), {"b": 2.5})
    assert found.tolist() == [1.0, 2.5, 1.0]
    assert class_weighting(images(["a", "b"]), None) is None


@pytest.mark.parametrize(
    ("how", "message"), [({"d": 1.0}, "names 'd'"), ({"a": -1.0}, "at least 0"), ({"a": float("nan")}, "at")]
)
def test_weights_that_make_no_sense(how, message):
    with pytest.raises(TrainingError, match=message):
        class_weighting(images(["a", "b", "c"]), how)


@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 4.0, 0.5])])
def test_amounts_put_a_mean_together(weight):
    """Means of parts times their amounts are the mean of the whole, as `cross_entropy` computes it."""
    scores = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 1, 1, 0, 2, 2, 2, 1])
    whole = torch.nn.functional.cross_entropy(scores, labels, weight=weight)
    parts = [slice(0, 3), slice(3, 10)]
    amounts = torch.stack([amount("classes", labels[p], len(labels[p]), weight) for p in parts])
    means = torch.stack(
        [torch.nn.functional.cross_entropy(scores[p], labels[p], weight=weight) for p in parts]
    )
    assert ((amounts * means).sum() / amounts.sum()).item() == pytest.approx(whole.item(), rel=1e-5)


@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 4.0])])
def test_amounts_of_masks(weight):
    masks = torch.tensor([[[0, 1], [255, 1]], [[255, 255], [255, 0]]])
    scores = torch.randn(2, 2, 2, 2, generator=torch.Generator().manual_seed(0))

    def loss(rows: slice) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(scores[rows], masks[rows], weight=weight, ignore_index=255)

    parts = [slice(0, 1), slice(1, 2)]
    amounts = torch.stack([amount("segmentation", masks[p], 1, weight) for p in parts])
    found = (amounts * torch.stack([loss(p) for p in parts])).sum() / amounts.sum()
    assert found.item() == pytest.approx(loss(slice(0, 2)).item(), rel=1e-5)
