from html import unescape

import pytest
import torch

import run_folders
import torchgraft as tg
from torchgraft.errors import CheckpointError, DataError
from torchgraft.viewing import FixedPage, Runs, shown


def test_a_run_and_several(tmp_path):
    one = run_folders.finished(tmp_path / "one", epochs=2)
    two = run_folders.finished(tmp_path / "two", epochs=2, seed=1)
    assert "timm/resnet18 on photos" in shown([one]).html()
    assert "<h1>2 runs</h1>" in shown([one, str(two)]).html()


def test_a_run_that_goes_on_is_another_one(tmp_path):
    run = tmp_path / "run"
    run_folders.config(run)
    found = shown([run])
    before = found.revision()
    assert found.revision() == before
    run_folders.add_epoch(run, 1)
    assert found.revision() != before


def test_a_live_page_may_ask_and_a_file_may_not(tmp_path):
    found = shown([run_folders.finished(tmp_path / "run", epochs=1)])
    assert "connect-src 'self'" in unescape(found.html(live=True))
    assert "connect-src" not in found.html()
    assert "fetch(" in found.html(live=True)
    assert "fetch(" not in found.html()


def test_checkpoints_and_plans(tmp_path):
    model = torch.nn.Linear(3, 2)
    torch.save(model.state_dict(), tmp_path / "a.pth")
    torch.save({"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}, tmp_path / "b.pth")
    tg.plan(model, tmp_path / "a.pth").save(tmp_path / "plan.json")
    assert "a.pth" in shown([tmp_path / "a.pth"]).html()
    both = shown([tmp_path / "a.pth", tmp_path / "b.pth"])
    assert isinstance(both, FixedPage)
    assert "b.pth" in both.html()
    assert "a.pth into Linear" in shown([tmp_path / "plan.json"]).html()


@pytest.mark.parametrize("text", ["{}", "[]", "not json", '{"torchgraft_run": 2}'])
def test_a_json_file_that_is_no_plan(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(CheckpointError):
        shown([tmp_path / "x.json"])


def test_what_can_not_be_shown_together(tmp_path):
    run = run_folders.finished(tmp_path / "run", epochs=1)
    with pytest.raises(DataError, match="not a run folder"):
        shown([run, tmp_path / "a.pth"])
    with pytest.raises(DataError, match="3 checkpoints"):
        shown(["a", "b", "c"])
    with pytest.raises(DataError, match="too many"):
        shown([run] * 51)
    assert isinstance(shown([run]), Runs)
