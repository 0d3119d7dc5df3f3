import json
import os
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from torchgraft.errors import DataError, SaveError, TrainingError
from torchgraft.finetuning import finetune
from torchgraft.finetuning.runs.run_folder import RunFolder
from torchgraft.storage.temporaries import new_file

FULL = {"recipe": "full", "lr": 0.02, "epochs": 3, "head_lr": 1.0}


def read(folder: Path, name: str):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def lines(folder: Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("settings", [{}, FULL])
def test_what_a_run_leaves(tiny, memory, tmp_path, settings):
    model, out = tiny(), tmp_path / "deep" / "run"
    result = finetune(model, memory, out=out, **settings)
    steps = {"steps.jsonl"} if settings else set()  # a probe on features takes none
    assert {path.name for path in out.iterdir()} - {"checkpoints", "mistakes"} == {
        *("config.json", "history.jsonl", "metrics.json", "model"),
        *steps,
    }
    config = read(out, "config.json")
    assert config["status"] == "finished"
    assert config["arguments"]["seed"] == 0
    assert config["counts"] == {"train": 52, "val": 12, "skipped": 0}
    assert config["classes"] == ["bright", "dark"]
    assert config["versions"]["torch"] == version("torch")
    assert config["settings"]["epochs"] == settings.get("epochs", 30)
    written = lines(out, "history.jsonl")
    assert {row.pop("epochs") for row in written} == {settings.get("epochs", 30)}
    assert written == [epoch.to_json() for epoch in result.history]
    assert read(out, "metrics.json") == {"epoch": result.best_epoch, **result.evaluation.to_json()}
    saved = load_file(out / "model" / "model.safetensors")
    assert saved.keys() == model.state_dict().keys()
    assert all(torch.equal(saved[key], value) for key, value in model.state_dict().items())
    assert (out / "model" / "torchgraft.json").is_file()


def test_an_interruption_leaves_the_best_so_far(tiny, memory, tmp_path):
    def interrupt(event):
        if event.stage == "training" and event.epoch == 3:
            raise KeyboardInterrupt

    model = tiny()
    with pytest.raises(KeyboardInterrupt):
        finetune(model, memory, **FULL, out=tmp_path / "run", on_event=interrupt)
    assert read(tmp_path / "run", "config.json")["status"] == "interrupted"
    assert [epoch["epoch"] for epoch in lines(tmp_path / "run", "history.jsonl")] == [1, 2]
    metrics = read(tmp_path / "run", "metrics.json")
    assert metrics["epoch"] in (1, 2)
    saved = load_file(tmp_path / "run" / "model" / "model.safetensors")
    assert all(torch.equal(saved[key], value) for key, value in model.state_dict().items())
    assert all(value.is_contiguous() for value in model.state_dict().values())


def test_a_failure_is_written_down(tiny, memory, tmp_path):
    with pytest.raises(TrainingError):
        finetune(tiny(), memory, **FULL | {"lr": 1e30, "epochs": 30}, clip=None, out=tmp_path / "run")
    config = read(tmp_path / "run", "config.json")
    assert config["status"] == "failed"
    assert "TrainingError" in config["error"]


def test_foreign_folders_are_refused_always(tiny, memory, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "config.json").write_text("{}")
    for overwrite in (False, True):
        with pytest.raises(SaveError, match="not empty"):
            finetune(tiny(), memory, out=tmp_path, overwrite=overwrite)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_earlier_runs_are_replaced_only_when_asked(tiny, memory, tmp_path):
    out = tmp_path / "run"
    finetune(tiny(), memory, **FULL, out=out)
    (out / "notes.txt").write_text("mine")
    before = (out / "history.jsonl").read_text()
    with pytest.raises(SaveError, match="earlier run") as caught:
        finetune(tiny(), memory, out=out)
    assert "overwrite=True" in (caught.value.hint or "")
    with pytest.raises(SaveError, match="earlier run"):
        finetune(tiny(), memory, out=out)
    assert (out / "history.jsonl").read_text() == before
    finetune(tiny(), memory, epochs=1, out=out, overwrite=True)
    assert len(lines(out, "history.jsonl")) == 1
    assert (out / "notes.txt").read_text() == "mine"


def test_a_file_in_the_way(tiny, memory, tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(SaveError, match="run folder"):
        finetune(tiny(), memory, out=tmp_path / "run")


def test_unusable_data_leaves_no_folder(tiny, memory, tmp_path):
    with pytest.raises(DataError):
        finetune(tiny(), (memory[0], ["a"] * 64), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_that_was_killed_before_its_first_file(tmp_path):
    """What is left of a file that was being written is nobody's; a file of the user's is theirs."""
    run = tmp_path / "run"
    run.mkdir()
    descriptor, _ = new_file(run / "config.json")
    os.close(descriptor)
    RunFolder(run).start({})
    assert sorted(path.name for path in run.iterdir()) == ["config.json", "history.jsonl"]
    other = tmp_path / "other"
    other.mkdir()
    (other / ".hidden").touch()
    with pytest.raises(SaveError, match="not empty"):
        RunFolder(other)


def test_a_run_that_is_killed_while_it_replaces_another(tmp_path, monkeypatch):
    """Whatever was removed by then, the folder is still known as a run's."""
    run = tmp_path / "run"
    RunFolder(run).start({"classes": ["a"]})
    (run / "checkpoints").mkdir()

    def killed(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("torchgraft.finetuning.runs.run_folder.shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        RunFolder(run, overwrite=True).start({"classes": ["b"]})
    monkeypatch.undo()
    assert RunFolder(run, resume=True).earlier["classes"] == ["a"]
