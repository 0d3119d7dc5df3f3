"""A model by name in another dtype: read into it straight from the file, the same as converted afterwards."""

from __future__ import annotations

import pytest
import torch

import torchgraft as tg

NAMES = ["torchvision/squeezenet1_1", "torchvision/mobilenet_v3_small", "timm/test_vit", "own_net:Net"]


def without_weights(name):
    torch.manual_seed(0)
    return tg.create_model(name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_as_if_converted_afterwards(name, dtype, tmp_path, differing):
    trained = without_weights(name)
    torch.save(trained.state_dict(), tmp_path / "x.pth")
    model = tg.create_model(name, weights=tmp_path / "x.pth", dtype=dtype, device="cpu")
    loaded = tg.create_model(name, weights=tmp_path / "x.pth").to(dtype)
    assert {t.dtype for t in model.parameters()} == {dtype}
    state, expected = model.state_dict(), loaded.state_dict()
    assert {key: t.dtype for key, t in state.items()} == {key: t.dtype for key, t in expected.items()}
    assert all(torch.equal(t, expected[key]) for key, t in state.items())


@pytest.mark.parametrize("name", NAMES)
def test_without_weights(name):
    model = tg.create_model(name, dtype=torch.bfloat16)
    assert {t.dtype for t in model.parameters()} == {torch.bfloat16}


def test_changed_and_saved_and_loaded(tmp_path):
    name = "torchvision/squeezenet1_1"
    torch.save(without_weights(name).state_dict(), tmp_path / "x.pth")
    model = tg.create_model(
        name, weights=tmp_path / "x.pth", in_channels=4, num_classes=3, dtype=torch.bfloat16
    )
    x = torch.rand(1, 4, 64, 64, dtype=torch.bfloat16)
    assert model(x).shape == (1, 3)
    tg.save(model, tmp_path / "out")
    again = tg.load(tmp_path / "out", dtype=torch.bfloat16, device="cpu")
    assert torch.equal(again(x), model(x))
    assert {t.dtype for t in tg.load(tmp_path / "out").parameters()} == {torch.float32}
    other = tg.create_model(name, in_channels=4, num_classes=3)
    assert torch.equal(tg.load(tmp_path / "out", model=other, dtype=torch.bfloat16)(x), model(x))


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.float8_e4m3fn])
def test_no_model_computes_in_these(dtype):
    with pytest.raises(tg.ModelError, match=f"a model can't be of {dtype}"):
        tg.create_model("torchvision/squeezenet1_1", dtype=dtype)


@pytest.mark.parametrize("weights", [True, False])
def test_a_device_that_is_not_there(weights, tmp_path):
    name = "torchvision/squeezenet1_1"
    given = None
    if weights:
        given = tmp_path / "x.pth"
        torch.save(without_weights(name).state_dict(), given)
    with pytest.raises(tg.ModelError, match="can't be put on device 'nowhere'"):
        tg.create_model(name, weights=given, device="nowhere")
