"""What `doctor` says, also of an installation that is broken."""

import json
from importlib.metadata import version

import pytest

from torchgraft.cli import installation


def test_says_what_is_here(call):
    result = call("doctor")
    assert result.exit_code == 0, result.output
    for part in ("torch", "click", "safetensors"):
        assert f"{part} {version(part)}" in " ".join(result.output.split())
    assert "nothing is wrong" in result.output


def test_as_json(call, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHGRAFT_CACHE", str(tmp_path))
    found = json.loads(call("doctor", "--json").output)
    assert found["torch"]["version"].partition("+")[0] == version("torch").partition("+")[0]
    assert found["cache"]["folder"] == str(tmp_path)
    assert found["cache"]["files"] == 0
    assert found["settings"]["TORCHGRAFT_CACHE"] == str(tmp_path)
    assert {part["extra"] for part in found["parts"]} >= {None, "vision", "train", "hf"}


@pytest.fixture
def requirements(monkeypatch):
    def pretend(*lines):
        monkeypatch.setattr(installation, "requires", lambda _: list(lines))

    return pretend


def test_an_optional_part_that_is_absent_is_no_problem(call, requirements):
    requirements("click>=8", 'no-such-part>=2; extra == "vision"')
    result = call("doctor")
    assert result.exit_code == 0
    assert "without no-such-part: pip install 'torchgraft[vision]'" in result.output


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("no-such-part>=2", "no-such-part is absent: torchgraft needs no-such-part>=2"),
        ("click>=900", "torchgraft needs click>=900"),
        ('click>=900; extra == "train"', "torchgraft needs click>=900"),
    ],
)
def test_what_is_wrong_is_said(call, requirements, line, problem):
    requirements(line)
    result = call("doctor")
    assert result.exit_code == 1
    assert problem in result.output


def test_what_only_developers_need_is_left_out(call, requirements):
    requirements('no-such-part>=2; extra == "dev"', 'torchgraft[vision]; extra == "demo"')
    result = call("doctor")
    assert result.exit_code == 0
    assert "no-such-part" not in result.output


def test_a_pytorch_that_cant_be_imported(call, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    result = call("doctor")
    assert result.exit_code == 1
    assert "PyTorch can't be imported" in result.output
