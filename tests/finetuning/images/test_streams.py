import numpy as np
import pytest
from torch.utils.data import IterableDataset

from torchgraft.errors import DataError
from torchgraft.finetuning.images import parts_of
from torchgraft.finetuning.images.streams import held_in_memory

PHOTO = np.zeros((4, 5, 3), np.uint8)


class Stream(IterableDataset):
    def __iter__(self):
        for index in range(4):
            yield PHOTO + index, "ab"[index % 2]


@pytest.mark.parametrize("data", [Stream(), iter(Stream()), ((PHOTO + i, "ab"[i % 2]) for i in range(4))])
def test_streams_are_read_once(data):
    images = parts_of(data)["all"]
    assert (images.classes, images.labels) == (("a", "b"), (0, 1, 0, 1))
    assert np.asarray(images.image(3)).max() == 3


def test_what_does_not_fit_is_refused_with_the_way_out():
    with pytest.raises(DataError, match="doesn't fit: 2 images") as caught:
        held_in_memory(Stream(), what="stream", limit=150)
    assert "write it into a folder" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("item", "size"), [(PHOTO, 60), (b"1234567", 7), ({"bytes": b"12", "path": None}, 2)]
)
def test_sizes(item, size):
    assert held_in_memory([(item, 0)], what="stream", limit=size) == ([item], [0])
    with pytest.raises(DataError, match="doesn't fit"):
        held_in_memory([(item, 0)], what="stream", limit=size - 1)


def test_entries_must_be_pairs():
    with pytest.raises(DataError, match=r"must give \(image, label\)") as caught:
        parts_of(iter([(PHOTO, 1), PHOTO]))
    assert caught.value.where == "entry 1"
