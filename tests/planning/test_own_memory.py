"""Models on the meta device whose weights lie in a file as they are wanted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import torchgraft as tg
from torchgraft.storage.local import mapped_at


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 5))


def on_meta() -> nn.Sequential:
    with torch.device("meta"):
        return net()


@pytest.fixture(params=["pth", "safetensors"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / f"weights.{request.param}"
    state = net().state_dict()
    if request.param == "pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    return path


def train(model: nn.Module) -> None:
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.add_(1)


@pytest.mark.parametrize("for_training", [False, True])
class TestOwned:
    def test_the_weights_are_the_files(self, file, for_training):
        model, expected = on_meta(), tg.open(file).state_dict()
        tg.graft(model, file, for_training=for_training)
        for key, value in model.state_dict().items():
            assert torch.equal(value, expected[key])
            assert value.untyped_storage().nbytes() == value.numel() * value.element_size()
        assert all(isinstance(one, nn.Parameter) and one.requires_grad for one in model.parameters())

    def test_training_one_changes_nothing_else(self, file, for_training):
        before = file.read_bytes()
        checkpoint = tg.open(file)
        kept = checkpoint.state_dict()
        one, other = on_meta(), on_meta()
        tg.graft(one, checkpoint, for_training=for_training)
        tg.graft(other, checkpoint, for_training=for_training)
        train(one)
        for key, value in kept.items():
            assert torch.equal(checkpoint[key].read(), value)
            assert torch.equal(other.state_dict()[key], value)
            assert torch.equal(one.state_dict()[key], value + 1)
        assert file.read_bytes() == before

    def test_one_tensor_in_two_places_is_two(self, tmp_path, for_training):
        """Tied in the file, apart in the model."""
        shared = torch.rand(4, 4)
        torch.save({"0.weight": shared, "1.weight": shared}, tmp_path / "tied.pth")
        with torch.device("meta"):
            model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
        tg.graft(model, tmp_path / "tied.pth", for_training=for_training)
        with torch.no_grad():
            model[0].weight.zero_()
        assert torch.equal(model[1].weight, shared)

    def test_a_file_that_is_replaced_afterwards(self, file, for_training):
        model = on_meta()
        tg.graft(model, file, for_training=for_training)
        expected = tg.open(file).state_dict()
        tg.convert(file, file.with_name("other.safetensors"))
        file.with_name("other.safetensors").replace(file)
        assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())

    def test_outputs_and_gradients(self, file, for_training):
        usual = net()
        usual.load_state_dict(tg.open(file).state_dict())
        model = on_meta()
        tg.graft(model, file, for_training=for_training)
        image = torch.rand(2, 3, 3, 3)
        for one in (usual, model):
            one(image).sum().backward()
        for (_, a), (_, b) in zip(usual.named_parameters(), model.named_parameters(), strict=True):
            assert torch.equal(a.grad, b.grad)


def test_it_is_not_the_checkpoints_memory(file):
    for for_training in (False, True):
        model, checkpoint = on_meta(), tg.open(file)
        tg.graft(model, checkpoint, for_training=for_training)
        view = checkpoint["0.weight"].view()
        assert mapped_at(view.data_ptr(), view.nbytes) is not None
        assert mapped_at(model[0].weight.data_ptr(), view.nbytes) is None


def test_weights_in_memory_are_copied():
    state = net().state_dict()
    model = on_meta()
    tg.graft(model, state)
    train(model)
    assert not torch.equal(model[0].weight, state["0.weight"])


def test_create_model_and_load(tmp_path):
    model = tg.create_model("timm/test_vit").eval()
    tg.save(model, tmp_path / "saved")
    for for_training in (False, True):
        again = tg.load(tmp_path / "saved", for_training=for_training)
        named = tg.create_model(
            "timm/test_vit", weights=tmp_path / "saved" / "model.safetensors", for_training=for_training
        )
        for key, value in model.state_dict().items():
            assert torch.equal(again.state_dict()[key], value)
            assert torch.equal(named.state_dict()[key], value)
