import json

import pytest

import run_folders
from torchgraft.errors import DataError
from torchgraft.finetuning.runs.recorded_run import is_run, read_run, revision


def test_a_whole_run(tmp_path):
    run = read_run(run_folders.finished(tmp_path / "run", epochs=4))
    assert (run.name, run.status, run.recipe, run.epochs, run.best_epoch) == ("run", "finished", "full", 4, 3)
    assert [entry["epoch"] for entry in run.history] == [1, 2, 3, 4]
    assert [step["step"] for step in run.steps] == list(range(1, 4 * 13 + 1))
    assert len(run.mistakes) == 8
    assert run.mistakes[0].picture.startswith(b"\xff\xd8\xff")
    assert run.mistakes[0].saliency != run.mistakes[0].picture


def test_a_run_that_has_just_begun(tmp_path):
    run_folders.config(tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert (run.history, run.steps, run.metrics, run.mistakes, run.best_epoch) == ((), (), {}, (), None)
    assert run.epochs == 10


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    run_folders.config(tmp_path / "run")
    run_folders.add_epoch(tmp_path / "run", 1)
    with (tmp_path / "run" / "history.jsonl").open("a") as file:
        file.write('{"epoch": 2, "train_lo')
    assert [entry["epoch"] for entry in read_run(tmp_path / "run").history] == [1]


@pytest.mark.parametrize(
    ("text", "ours"),
    [('{"torchgraft_run": 2}', True), *((text, False) for text in ("{}", "[]", "null", "{", "[" * 10**5))],
)
def test_what_is_a_run(tmp_path, text, ours):
    (tmp_path / "config.json").write_text(text)
    assert is_run(tmp_path) is ours
    if not ours:
        with pytest.raises(DataError):
            read_run(tmp_path)


def test_what_is_no_folder_is_no_run(tmp_path):
    (tmp_path / "file").write_text('{"torchgraft_run": 2}')
    assert not is_run(tmp_path / "file")
    assert not is_run(tmp_path / "absent")
    with pytest.raises(DataError, match="no run") as error:
        read_run(tmp_path / "absent")
    assert error.value.hint


@pytest.mark.parametrize(
    "name", ["config.json", "history.jsonl", "steps.jsonl", "metrics.json", "mistakes/mistakes.json"]
)
@pytest.mark.parametrize(
    "junk",
    [
        "",
        "null",
        "[]",
        "7",
        '"x"',
        '{"a": []}',
        "\x00\xff",
        '{"epoch": ' + "9" * 5000 + "}",
        '[[{"b": NaN}]]',
    ],
)
def test_junk_is_refused_or_left_out(tmp_path, name, junk):
    folder = run_folders.finished(tmp_path / "run", epochs=1)
    (folder / name).write_text(junk, encoding="latin-1")
    try:
        run = read_run(folder)
    except DataError as error:
        refused = str(error)
    else:
        refused = ""
        assert all(isinstance(entry, dict) for entry in (*run.history, *run.steps))
    assert not refused or name.split("/")[-1] in refused or "no run" in refused


def test_wrong_types_inside(tmp_path):
    folder = run_folders.finished(tmp_path / "run", epochs=1)
    (folder / "config.json").write_text('{"torchgraft_run": 2, "arguments": 3, "settings": [], "status": 4}')
    (folder / "metrics.json").write_text(
        '{"epoch": "x", "mistakes": [1, {"index": [], "probability": "y"}, null]}'
    )
    run = read_run(folder)
    assert (run.recipe, run.status, run.best_epoch) == ("?", "4", None)
    assert [mistake.probability for mistake in run.mistakes] == [None] * 3


@pytest.mark.parametrize(
    "name",
    [
        "../secret.jpg",
        "/etc/passwd",
        "secret.jpg",
        "..",
        "1.jpg/../../secret.jpg",
        "1.jpg\n",
        "link.jpg",
        7,
        None,
    ],
)
def test_no_picture_from_elsewhere(tmp_path, name):
    folder = run_folders.finished(tmp_path / "run", epochs=1)
    (tmp_path / "secret.jpg").write_bytes(run_folders.jpeg(1))
    (folder / "secret.jpg").write_bytes(run_folders.jpeg(1))
    files = {str(7 * i): {"picture": name} for i in range(8)}
    (folder / "mistakes" / "mistakes.json").write_text(json.dumps({"epoch": 1, "pictures": files}))
    assert not any(mistake.picture for mistake in read_run(folder).mistakes)


@pytest.mark.parametrize("how", ["link", "no picture", "too large", "other epoch"])
def test_which_pictures_are_left_out(tmp_path, how):
    folder = run_folders.finished(tmp_path / "run", epochs=1)
    first = folder / "mistakes" / "0.jpg"
    if how == "link":
        (tmp_path / "secret.jpg").write_bytes(run_folders.jpeg(1))
        first.unlink()
        first.symlink_to(tmp_path / "secret.jpg")
    elif how == "no picture":
        first.write_bytes(b"<svg onload=alert(1)>")
    elif how == "too large":
        first.write_bytes(b"\xff\xd8\xff" + bytes(300 << 10))
    else:
        run_folders.class_metrics(folder, ("a", "b"), epoch=2, pictures=False)
    assert read_run(folder).mistakes[0].picture == b""


def test_a_file_that_is_far_too_large(tmp_path):
    folder = run_folders.finished(tmp_path / "run", epochs=1)
    with (folder / "history.jsonl").open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(DataError, match="larger than 64 MiB"):
        read_run(folder)


def test_a_revision_is_another_one_when_something_changed(tmp_path):
    folder = tmp_path / "run"
    run_folders.config(folder)
    seen = {revision(folder)}
    run_folders.add_epoch(folder, 1)
    seen.add(revision(folder))
    run_folders.class_metrics(folder, ("a", "b"), epoch=1, pictures=False)
    seen.add(revision(folder))
    assert revision(folder) in seen
    assert len(seen) == 3
    assert revision(tmp_path / "absent") == ""
