import json
import os
import signal
import threading

import pytest
import torch

from torchgraft.finetuning import finetune
from torchgraft.finetuning.fitting.stopping import stopping

SETTINGS = {"recipe": "full", "lr": 0.02, "epochs": 3, "head_lr": 1.0, "batch_size": 16}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_insists(number):
    before = signal.getsignal(number)
    with stopping() as stop:
        os.kill(os.getpid(), number)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_handlers_of_the_programs_own_stay():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
    try:
        with stopping() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [1]


def test_in_another_thread_there_is_nothing_to_hear():
    found = []

    def work() -> None:
        with stopping() as stop:
            found.append(stop.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]


@pytest.mark.parametrize(("stage", "epoch"), [("training", 2), ("validating", 2), ("validating", 1)])
@pytest.mark.parametrize("ema", [None, 0.9])
def test_ctrl_c_saves_and_the_run_goes_on_as_if_nothing_had_been(tiny, memory, tmp_path, stage, epoch, ema):
    def interrupt(event):
        if event.stage == stage and event.epoch == epoch:
            os.kill(os.getpid(), signal.SIGINT)

    quiet = tiny()
    expected = finetune(quiet, memory, **SETTINGS, ema=ema)
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        finetune(tiny(), memory, **SETTINGS, ema=ema, out=run, on_event=interrupt)
    config = json.loads((run / "config.json").read_text())
    assert config["status"] == "interrupted"
    kept = [path.name for path in (run / "checkpoints").iterdir()]
    assert kept
    assert all(name.startswith("step-") for name in kept)
    model = tiny()
    result = finetune(model, memory, **SETTINGS, ema=ema, out=run, resume=True)
    assert all(torch.equal(t, model.state_dict()[name]) for name, t in quiet.state_dict().items())
    assert [e.val for e in result.history] == [e.val for e in expected.history]
    assert [e.train_loss for e in result.history] == [e.train_loss for e in expected.history]
    config = json.loads((run / "config.json").read_text())
    assert (config["status"], config["resumed"]) == ("finished", 1)
    assert "error" not in config
