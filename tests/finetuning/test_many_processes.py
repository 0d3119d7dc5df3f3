"""Several processes: started by launchers, with the model in parts, killed, and gone on in other numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import torchgraft as tg
from finetuning.one_of_several import CASES, QUICK, SHARDED, finetuned
from finetuning.test_processes import WORKER, history, started, steps

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

BUILDER = """
import torch
from torch import nn
from torchgraft.model_info import ModelInfo, Preprocessing, attach_info

def net(num_classes=2):
    torch.manual_seed(3)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(8, num_classes),
    )
    half = (0.5,) * 3
    how = Preprocessing(size=(16, 16), crop=1.0, interpolation="bilinear", mean=half, std=half)
    attach_info(model, ModelInfo(preprocessing=how))
    return model
"""
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node")


def launched(*command: str, folder: Path, seconds: int = 300) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder`; it and all that it started are gone when this returns."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder)}
    with subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            out, err = running.communicate(timeout=seconds)
        finally:
            if running.poll() is None:
                os.killpg(running.pid, 9)
    return subprocess.CompletedProcess(command, running.returncode, out, err)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return dict(tg.open(run / "model" / "model.safetensors").state_dict())


@pytest.fixture
def photos(tmp_path) -> Path:
    (tmp_path / "nets.py").write_text(BUILDER)
    for name, level in (("bright", 40), ("dark", 10)):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for index in range(13):
            noise = np.random.default_rng(index).integers(0, 200, (20, 24, 3))
            Image.fromarray((noise + level).astype(np.uint8)).save(folder / f"{index:02}.png")
    return tmp_path


FINETUNE = (
    *("-m", "torchgraft", "finetune", "nets:net", "photos", "--weights", "none"),
    *("--recipe", "full", "--epochs", "2", "--lr", "0.003"),
)


@pytest.mark.parametrize(
    "launcher",
    [
        (*TORCHRUN, "2"),
        (sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"),
    ],
    ids=["torchrun", "accelerate"],
)
def test_the_same_command_in_two_processes(photos, launcher):
    alone = launched(sys.executable, *FINETUNE, "-o", "one", "--json", folder=photos)
    port = ("--main_process_port", "0") if "accelerate" in launcher[2] else ()
    both = launched(*launcher, *port, *FINETUNE, "-o", "two", "--json", folder=photos)
    assert both.returncode == 0, both.stderr
    told = json.loads(both.stdout)  # one document, though two processes ran
    assert told["evaluation"]["accuracy"] == json.loads(alone.stdout)["evaluation"]["accuracy"]
    assert steps(photos / "two") == pytest.approx(steps(photos / "one"), abs=1e-5)
    shown = launched(*TORCHRUN, "2", *FINETUNE, "-o", "three", "--shard", folder=photos)
    assert shown.stderr.count("running on: 2 processes") == 1
    assert steps(photos / "three") == pytest.approx(steps(photos / "one"), abs=1e-5)
    measure = ["-m", "torchgraft", "evaluate", "two", "photos", "--builder", "nets:net", "--json"]
    expected = json.loads(launched(sys.executable, *measure, folder=photos).stdout)
    found = launched(*launcher, *port, *measure, folder=photos)
    assert json.loads(found.stdout)["confusion"] == expected["confusion"]
    looked = launched(*TORCHRUN, "2", "-m", "torchgraft", "inspect", "two/model", folder=photos)
    assert looked.stdout.count("model.safetensors") == 1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (("photos", "nowhere"), "nowhere"),
        (("nets:net", "nets:absent"), "absent"),
        (("full", "magic"), "magic"),
    ],
)
def test_an_error_before_training_ends_all_with_one_message(photos, changed, words):
    command = [changed[1] if part == changed[0] else part for part in FINETUNE]
    done = launched(*TORCHRUN, "2", *command, "-o", "run", folder=photos, seconds=120)
    assert done.returncode == 1
    assert done.stderr.count("✗ ") == 1
    assert words in done.stderr.split("✗ ")[1].split("\n\n")[0]
    assert not (photos / "run").exists()


@pytest.fixture(scope="module")
def sharded(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sharded")
    started(folder, *(case for case in CASES if case not in QUICK), *SHARDED, seconds=600)
    return folder


@pytest.mark.parametrize("case", [*(case for case in CASES if case not in QUICK), *SHARDED])
def test_losses_are_those_of_one_process(sharded, tmp_path, case):
    finetuned(tmp_path, case)
    mine, theirs = history(tmp_path / case), history(sharded / case)
    for key in ("train_loss", "val_loss", "val_accuracy"):
        assert [row[key] for row in theirs] == pytest.approx([row[key] for row in mine], abs=1e-5)
    assert steps(sharded / case) == pytest.approx(steps(tmp_path / case), abs=1e-5)
    metrics = json.loads((sharded / case / "metrics.json").read_text())
    assert sum(map(sum, metrics["confusion"])) == 12
    saved = weights(sharded / case)
    for name, value in weights(tmp_path / case).items():
        torch.testing.assert_close(saved[name], value, rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """A run of two processes of which one was killed in its seventh step, and whole ones of 1 and 2."""
    folder = tmp_path_factory.mktemp("killed")
    started(folder, "uninterrupted=two")
    started(folder, "uninterrupted=one", processes=1)
    done = launched(*TORCHRUN, "2", str(WORKER), str(folder), "killed=7", folder=folder, seconds=120)
    assert done.returncode == 1
    assert "SIGKILL" in done.stderr
    return folder


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_a_process_is_killed_and_the_run_goes_on_in_any_number(killed, tmp_path, processes):
    copied = tmp_path / "run"
    subprocess.run(["cp", "-r", str(killed / "run"), str(copied)], check=True)
    assert 4 <= len(steps(copied)) <= 7
    started(tmp_path, "resumed=run", processes=processes)
    whole = killed / "two"
    assert len(steps(copied)) == len(steps(whole)) == 12
    for name, value in weights(whole).items():
        found = weights(copied)[name]
        if processes == 2:
            assert torch.equal(found, value), name
        else:
            torch.testing.assert_close(found, value, rtol=1e-4, atol=1e-5)
    assert steps(copied) == pytest.approx(steps(whole), abs=0 if processes == 2 else 1e-5)


def test_a_run_of_one_process_goes_on_in_two(tmp_path, killed):
    done = launched(sys.executable, str(WORKER), str(tmp_path), "killed=7", folder=tmp_path)
    assert done.returncode == -9
    started(tmp_path, "resumed=run", processes=2)
    assert steps(tmp_path / "run") == pytest.approx(steps(killed / "one"), abs=1e-5)
