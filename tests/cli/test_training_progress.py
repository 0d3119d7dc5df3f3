import io

from rich.console import Console

from torchgraft.cli.output import Output
from torchgraft.cli.training_progress import TrainingProgress
from torchgraft.finetuning import Event

EVENTS = [
    Event("reading", 0, 24),
    Event("features", 8, 24),
    Event("features", 24, 24),
    Event("training", 1, 2, epoch=1, train_loss=0.7),
    Event("validating", 6, 6, epoch=1),
    Event("epoch", 1, 2, epoch=1, train_loss=0.7, val={"accuracy": 0.5}),
    Event("saving", 1, 1),
]


def test_lines_where_there_is_no_terminal(capsys):
    with TrainingProgress(Output()) as progress:
        for event in EVENTS:
            progress(event)
    assert capsys.readouterr().err.splitlines() == [
        "reading images (24)",
        "computing features (24)",
        "epoch   1/2  training loss 0.7000  validation:  accuracy 50.0 %",
    ]


def test_nothing_when_quiet(capsys):
    with TrainingProgress(Output(quiet=True)) as progress:
        for event in EVENTS:
            progress(event)
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal(monkeypatch):
    output = Output()
    screen = io.StringIO()
    monkeypatch.setattr(output, "_remarks", Console(file=screen, force_terminal=True, width=80))
    with TrainingProgress(output) as progress:
        for event in EVENTS:
            progress(event)
    assert "training, epoch 1" in screen.getvalue() or "saving" in screen.getvalue()
    assert "epoch   1/2" in screen.getvalue()
