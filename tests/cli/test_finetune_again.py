"""Runs that are interrupted, gone on with, made again, or only shown."""

import json
import os
import shutil
import signal

import pytest
import torch
from safetensors.torch import load_file

import torchgraft as tg
from torchgraft.finetuning.fitting.stepping import Stepper

BEGIN = ("finetune", "tiny_net:build", "photos", "--weights", "tiny.pth")
TRUST = "--trust=tiny_net:build"
SETTINGS = (
    *("--recipe", "full", "--epochs", "2", "--batch-size", "6", "--set", "head_lr=3", "--mixup", "0.2"),
    *("--ema", "0.9", "--augment", "none", "--clip", "0", "--seed", "4", "--val", "0.25"),
)


def weights(run) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "model.safetensors")


def same(run, other) -> bool:
    first, second = weights(run), weights(other)
    return first.keys() == second.keys() and all(torch.equal(t, second[name]) for name, t in first.items())


@pytest.fixture
def finished(place, photos, call):
    result = call(*BEGIN, "-o", "whole", *SETTINGS)
    assert result.exit_code == 0, result.output
    return place / "whole"


@pytest.fixture
def interrupted(place, photos, call, monkeypatch):
    """A run at which somebody pressed Ctrl-C in its fourth step, and what it said."""
    step = Stepper.step

    def pressed(self, batches, number, check):
        if number == 4:
            os.kill(os.getpid(), signal.SIGINT)
        step(self, batches, number, check)

    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "step", pressed)
        return call(*BEGIN, "-o", "run", *SETTINGS)


def test_ctrl_c_says_how_to_go_on_and_that_works(interrupted, finished, place, call):
    assert interrupted.exit_code == 130
    assert f"go on with: torchgraft finetune --resume run {TRUST}" in interrupted.stderr
    assert json.loads((place / "run" / "config.json").read_text())["status"] == "interrupted"
    result = call("finetune", "--resume", "run", TRUST)
    assert result.exit_code == 0, result.output
    assert same(place / "run", finished)
    assert (place / "run" / "report.html").exists()


def test_it_is_gone_on_with_from_another_folder(interrupted, finished, place, call, monkeypatch):
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    assert call("finetune", "--resume", "../run", TRUST, "--workers", "0").exit_code == 0
    assert same(place / "run", finished)


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--lr", "0.5"], 7, "lr=0.5 instead of None"),
        (["--mixup", "0.4"], 7, "mixup=0.4 instead of 0.2"),
        (["-o", "other"], 2, "--resume takes model, data and run folder from the run"),
        (["--config", "run/config.json"], 2, "give one of them"),
    ],
)
def test_another_run_is_refused(more, code, message, interrupted, call):
    result = call("finetune", "--resume", "run", TRUST, *more)
    assert result.exit_code == code
    assert message in result.stderr.replace("\n", " ")


def test_a_run_is_made_again_from_its_config(finished, place, call):
    result = call("finetune", "--config", "whole/config.json", TRUST, "-o", "again")
    assert result.exit_code == 0, result.output
    assert same(place / "again", finished)
    changed = call("finetune", "--config", "whole/config.json", TRUST, "-o", "other", "--seed", "5", "--json")
    assert changed.exit_code == 0, changed.output
    assert not same(place / "other", finished)
    arguments = json.loads((place / "other" / "config.json").read_text())["arguments"]
    before = json.loads((finished / "config.json").read_text())["arguments"]
    assert {name for name in arguments if arguments[name] != before[name]} == {"seed"}


def test_a_run_of_python_says_what_its_config_lacks(place, photos, call):
    import tiny_net

    tg.finetune(tiny_net.build(), photos, preprocessing=tg.Preprocessing((32, 32)), epochs=1, out="run")
    result = call("finetune", "--config", "run/config.json", "-o", "again")
    assert result.exit_code == 2
    assert "torch.nn.modules.container.Sequential that your code built" in result.stderr.replace("\n", " ")


def test_a_dry_run_shows_the_groups_and_leaves_nothing(place, photos, call):
    result = call(*BEGIN, "-o", "run", *SETTINGS, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "learning rate" in result.stdout
    assert "head" in result.stdout
    assert not (place / "run").exists()
    told = json.loads(call(*BEGIN, "-o", "run", *SETTINGS, "--dry-run", "--json").stdout)
    assert {"name", "lr", "parameters", "frozen"} <= told["groups"][0].keys()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["finetune"], "Missing argument 'MODEL'"),
        (["finetune", "tiny_net:build"], "Missing argument 'DATA'"),
        ([*BEGIN], "Missing option '-o'"),
        (["finetune", "--resume", "absent"], "absent"),
        (["finetune", "--config", "tiny.pth", "-o", "x"], "can't be used"),
        ([*BEGIN, "-o", "x", "--set", "head_lr"], "NAME=VALUE"),
        ([*BEGIN, "-o", "x", "--class-weights", "even"], "balanced"),
    ],
)
def test_lines_that_are_wrong(arguments, message, place, photos, call):
    result = call(*arguments)
    assert result.exit_code == 2
    assert message in result.output.replace("\n", " ")


def test_a_folder_that_is_gone_is_begun_anew(interrupted, finished, place, call):
    shutil.rmtree(place / "run" / "checkpoints")
    assert call("finetune", "--resume", "run", TRUST).exit_code == 0
    assert same(place / "run", finished)


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("model", "evil_net:build", "evil_net:build"),
        ("builder", "evil_net:build", "evil_net:build"),
        ("recipe", "evil_net:Recipe", "evil_net:Recipe"),
    ],
)
@pytest.mark.parametrize("how", ["resume", "config"])
def test_a_run_folder_names_no_code_that_runs(how, key, value, named, interrupted, place, call):
    """A folder from somebody else: what it would import is named, and nothing is imported."""
    (place / "evil_net.py").write_text("raise SystemExit('the stranger's code has run')")
    config = json.loads((place / "run" / "config.json").read_text())
    config["command" if key != "recipe" else "arguments"][key] = value
    (place / "run" / "config.json").write_text(json.dumps(config))
    asked = ["--resume", "run"] if how == "resume" else ["--config", "run/config.json", "-o", "other"]
    result = call("finetune", *asked, TRUST)
    assert result.exit_code == 2
    assert f"--trust={named}" in result.output.replace("\n", " ")
