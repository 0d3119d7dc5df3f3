"""What a user is told when something fails, and the exit code."""

import json

import click
import pytest

from torchgraft import checkpoint, errors
from torchgraft.cli.failures import EXIT_CODES, describe

CODES = {
    errors.CheckpointError: 3,
    errors.UnknownFormatError: 3,
    errors.CorruptCheckpointError: 3,
    errors.UnsafeCheckpointError: 3,
    errors.NoWeightsError: 3,
    errors.MatchError: 4,
    errors.AmbiguousMatchError: 4,
    errors.CoverageError: 5,
    errors.AdaptError: 6,
    errors.AnatomyError: 6,
    errors.ModelError: 6,
    errors.UnknownModelError: 6,
    errors.DataError: 7,
    errors.TrainingError: 7,
    errors.SaveError: 8,
    errors.FetchError: 8,
    errors.MissingDependencyError: 9,
    errors.VerificationError: 11,
}


def test_every_error_has_its_exit_code():
    assert {f.__name__ for f in CODES} == set(errors.__all__) - {"TorchgraftError"}
    for kind, code in CODES.items():
        assert describe(kind("what")).code == code
        assert code in EXIT_CODES


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("x"), 1),
        (ValueError(), 1),
        (errors.TorchgraftError("x"), 1),
        (click.UsageError("x"), 2),
        (click.FileError("x"), 2),
    ],
)
def test_other_errors(error, code):
    assert describe(error).code == code
    assert describe(error).message


@pytest.mark.parametrize(
    ("hint", "shown"),
    [
        ('declare it: allow_fresh="head"', "declare it: --allow-fresh head"),
        ("allow_fresh='layer4.*'", "--allow-fresh 'layer4.*'"),
        ("allow_fresh=['head', 'stem']", "--allow-fresh head --allow-fresh stem"),
        ("rename={'old.': 'new.'}", "--rename 'old.=new.'"),
        ('modes={"normalisation": "approximate"}', "--mode normalisation=approximate"),
        ('match="order" trusts the order', "--match order trusts the order"),
        ("num_classes=21", "--num-classes 21"),
        ("say so: torchgraft.load(path, builder='net:build')", "say so: --builder net:build"),
        ("pass overwrite=True to replace it", "pass --overwrite to replace it"),
        ("end it in .pth, or say format=", "end it in .pth, or say --format"),
        ("give them (source_labels=, or so)", "give them (--source-labels, or so)"),
        ("try lr=1e-05", "try --lr 1e-05"),
        ("val=0.2 keeps a fifth", "--val 0.2 keeps a fifth"),
        ("use precision='auto'", "use --precision auto"),
        ("batch_size=2 or more, or freeze_bn=True", "--batch-size 2 or more, or --freeze-bn"),
        ("name them: torchgraft.adapt(m, labels=, num_classes=3)",) * 2,
        ("pip install 'torchgraft[train]'", "pip install 'torchgraft[train]'"),
        ('{"cat": 1}', '{"cat": 1}'),
    ],
)
def test_hints_speak_the_command_lines_language(hint, shown):
    assert describe(errors.ModelError("x", hint=hint)).hint == shown


@pytest.fixture
def failing(monkeypatch):
    """Makes `inspect` fail with this error."""

    def fail(error):
        def open(path, *, select=None):
            raise error

        monkeypatch.setattr(checkpoint, "open", open)

    return fail


def test_is_one_screen_of_what_where_and_next_step(failing, call):
    failing(errors.CorruptCheckpointError("the file ends early", where="a.pth", hint="download it again"))
    result = call("inspect", "a.pth")
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr == (
        "✗ CorruptCheckpointError  the file ends early\n  in a.pth\n  → download it again\n"
    )


def test_as_json(failing, call):
    failing(errors.CorruptCheckpointError("the file ends early", where="a.pth", hint="download it again"))
    result = call("inspect", "a.pth", "--json")
    assert result.exit_code == 3
    assert result.stderr == ""
    assert json.loads(result.stdout) == {
        "error": {
            "type": "CorruptCheckpointError",
            "message": "the file ends early",
            "where": "a.pth",
            "hint": "download it again",
        },
        "exit_code": 3,
    }


def test_hostile_text_steers_nothing(failing, call):
    failing(errors.CheckpointError("a\x1b[2Jb\n[red]c[/red]", where="\x1b]0;x\x07", hint="\u202ex"))
    result = call("inspect", "a.pth")
    assert "\x1b" not in result.stderr
    assert "\u202e" not in result.stderr
    assert "[red]c[/red]" in result.stderr


@pytest.mark.parametrize("how", ["option", "environment"])
def test_a_traceback_only_when_asked(how, failing, call, monkeypatch):
    failing(RuntimeError("a bug"))
    plain = call("inspect", "a.pth")
    assert plain.exit_code == 1
    assert "Traceback" not in plain.stderr
    assert "--debug" in plain.stderr
    if how == "environment":
        monkeypatch.setenv("TORCHGRAFT_DEBUG", "1")
    asked = call("inspect", "a.pth", *(["--debug"] if how == "option" else []))
    assert isinstance(asked.exception, RuntimeError)


def test_an_interrupt_is_130(failing, call):
    failing(KeyboardInterrupt())
    assert call("inspect", "a.pth").exit_code == 130


@pytest.mark.parametrize(
    "arguments",
    [
        ["nope"],
        ["inspect"],
        ["plan", "x"],
        ["inspect", "a", "--nope"],
        ["predict", "m", "i", "--top", "0"],
        ["adapt", "m", "-o", "x"],
    ],
)
def test_a_wrong_command_line_is_2(arguments, call):
    result = call(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("✗ UsageError  ")
    assert "--help" in result.stderr
    as_json = call(*arguments, "--json")
    assert json.loads(as_json.stdout)["error"]["type"] == "UsageError"
