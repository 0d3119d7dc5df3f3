"""`torchgraft check`: exit codes and output, by photos and beside outputs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import torchgraft as tg

MODEL = "tiny_net:build"


@pytest.fixture
def trained(place: Path) -> torch.nn.Module:
    """`tiny.pth` with statistics of something; the model that holds the same."""
    import tiny_net

    torch.manual_seed(2)
    model = tiny_net.build().train()
    for _ in range(40):
        model(torch.rand(16, 3, 16, 16))
    torch.save({f"module.{name}": tensor for name, tensor in model.state_dict().items()}, place / "tiny.pth")
    return model.eval()


def test_beside_saved_outputs(trained, call):
    x = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        np.save("out.npy", trained(x).numpy())
    np.save("in.npy", x.numpy())
    arguments = ["check", MODEL, "tiny.pth", "--reference", "out.npy", "--inputs", "in.npy"]
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("passed: Sequential gives the outputs of out.npy on 1 input")
    np.save("out.npy", 2 * np.load("out.npy"))
    result = call(*arguments)
    assert result.exit_code == 11
    assert result.stdout.startswith("failed: ")
    result = call(*arguments, "--json")
    assert result.exit_code == 11
    assert json.loads(result.stdout)["outputs"]["passed"] is False


def test_by_photos(place, call, photos, monkeypatch):
    """Photos that suit the statistics, since those were gathered from them."""
    import tiny_net

    how = tg.Preprocessing(size=(32, 32))
    model = tg.describe(tiny_net.build().train(), preprocessing=how)
    from torchgraft.finetuning.predicting import prepared

    for _ in range(80):
        for batch in prepared(model, photos):
            model(batch)
    torch.save(model.eval().state_dict(), "tiny.pth")
    monkeypatch.setattr(
        tiny_net, "build", lambda build=tiny_net.build: tg.describe(build(), preprocessing=how)
    )
    arguments = ["check", MODEL, "tiny.pth", "--images", photos]
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    assert "right: Sequential on 24 images" in result.stdout.replace("\n", " ")
    with torch.no_grad():
        model[4].running_mean.add_(5)
    torch.save(model.state_dict(), "tiny.pth")
    result = call(*arguments, "--json")
    assert result.exit_code == 11
    found = json.loads(result.stdout)["statistics"]
    assert (found["verdict"], found["suspects"]) == ("wrong", ["4"])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["tiny.pth"], 2),
        (["tiny.pth", "--inputs", "in.npy"], 2),
        (["absent.pth", "--images", "photos"], 3),
        (["tiny.pth", "--reference", "absent.npy"], 3),
        (["tiny.pth", "--images", "absent"], 7),
    ],
)
def test_mistakes(arguments, code, place, call):
    result = call("check", MODEL, *arguments)
    assert result.exit_code == code, result.output
