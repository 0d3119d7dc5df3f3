import pytest
import timm
import torch

import torchgraft as tg
from torchgraft.finetuning import evaluate, finetune
from torchgraft.model_info import ModelInfo, Preprocessing, attach_info

HOW = Preprocessing(size=(32, 32), crop=1.0, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)
OPTIONS = {"img_size": 32, "depth": 2, "embed_dim": 24, "num_heads": 3}


def vit() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model("vit_tiny_patch16_224", num_classes=2, **OPTIONS).eval()
    attach_info(model, ModelInfo(labels=("bright", "dark"), preprocessing=HOW))
    return model


def test_the_model_is_a_plain_one_afterwards_and_does_what_was_measured(memory, tmp_path):
    model, start = vit(), vit().state_dict()
    result = finetune(model, memory, recipe="lora", rank=4, epochs=3, lr=0.02, out=tmp_path / "run")
    assert list(model.state_dict()) == list(start)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, start[name])}
    layers = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    adapted = {f"blocks.{block}.{layer}.weight" for block in range(2) for layer in layers}
    assert changed == adapted | {"head.weight", "head.bias"}
    assert result.trainable == 2 * 4 * ((24 + 72) + (24 + 24) + 2 * (24 + 96)) + 50
    assert result.notes[-1] == "8 layers were adapted, and merged"
    assert [row.name for row in result.groups] == ["adapters", "head", "head", "frozen"]

    assert set(tg.open(tmp_path / "run" / "model" / "model.safetensors")) == set(start)
    from torchgraft.finetuning.images import parts_of
    from torchgraft.finetuning.images.splitting import split

    val = split(parts_of(memory)["all"], 0.2, 0)[1]
    again = evaluate(model, val)
    assert abs(again.log_loss - result.evaluation.log_loss) < 1e-4


def test_only_the_layers_asked_for(memory):
    model, start = vit(), vit().state_dict()
    finetune(model, memory, recipe="lora", targets=r"attn\.qkv$", epochs=1, lr=0.02)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, start[name])}
    assert changed == {*(f"blocks.{b}.attn.qkv.weight" for b in range(2)), "head.weight", "head.bias"}


def test_an_interrupted_run_leaves_a_plain_model(memory):
    model = vit()
    keys = list(model.state_dict())

    def stop(event):
        if event.stage == "validating":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(model, memory, recipe="lora", epochs=2, lr=0.02, on_event=stop)
    assert list(model.state_dict()) == keys
    assert all(parameter.requires_grad for parameter in model.parameters())
