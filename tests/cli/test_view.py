"""`torchgraft view`, and the page that `finetune` keeps up to date."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import webbrowser
from urllib.parse import urlsplit

import pytest

import run_folders
from torchgraft.cli.output import Output
from torchgraft.cli.run_report import RunReport
from torchgraft.finetuning import Event
from torchgraft.viewing import Viewer


def test_a_file_instead_of_a_server(call, tmp_path):
    folder = run_folders.finished(tmp_path / "run", epochs=1)
    found = call("view", folder, "-o", tmp_path / "page.html")
    assert found.exit_code == 0
    assert found.stdout == f"{tmp_path / 'page.html'}\n"
    assert "timm/resnet18 on photos" in (tmp_path / "page.html").read_text(encoding="utf-8")
    found = call("view", folder, folder, "-o", tmp_path / "page.html", "--json")
    assert json.loads(found.stdout) == {"report": str(tmp_path / "page.html")}
    assert "<h1>2 runs</h1>" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("browse", [True, False])
def test_the_browser_is_opened_unless_it_is_not_to(call, tmp_path, monkeypatch, browse):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)

    def interrupted(self, poll_interval=0.5):
        raise KeyboardInterrupt

    monkeypatch.setattr(Viewer, "serve_forever", interrupted)
    found = call("view", run_folders.finished(tmp_path / "run", epochs=1), *([] if browse else ["--no-open"]))
    assert found.exit_code == 0
    (url,) = re.findall(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", found.stdout)
    assert opened == ([url] if browse else [])


@pytest.mark.parametrize(
    ("name", "code", "said"), [("absent", 3, "no such file"), ("broken", 7, "not JSON"), ("folder", 3, "")]
)
def test_what_can_not_be_shown_is_said_before_anything_is_served(call, tmp_path, name, code, said):
    broken = run_folders.finished(tmp_path / "broken", epochs=1)
    (broken / "metrics.json").write_text("{")
    (tmp_path / "folder").mkdir()
    found = call("view", tmp_path / name, "--no-open")
    assert found.exit_code == code
    assert said in found.stderr
    assert "http://" not in found.stdout


def test_it_serves_until_ctrl_c(tmp_path):
    folder = run_folders.finished(tmp_path / "run", epochs=1)
    command = [sys.executable, "-m", "torchgraft", "view", str(folder), "--no-open"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "80"},
    ) as process:
        try:
            url = urlsplit(process.stdout.readline().strip())
            connection = http.client.HTTPConnection(url.hostname, url.port, timeout=20)
            connection.request("GET", url.path)
            assert "timm/resnet18 on photos" in connection.getresponse().read().decode()
            connection.close()
            process.send_signal(signal.SIGINT)
            _, remarks = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0
    assert "Ctrl-C" in remarks
    assert "Traceback" not in remarks


def events(folder):
    """As `finetune` sends them."""
    yield Event("reading", 1, 1)
    run_folders.config(folder)
    yield Event("groups", 0, 0)
    run_folders.add_epoch(folder, 1)
    yield Event("epoch", 1, 10, 1, 0.5, {"loss": 0.5})


def test_the_report_keeps_up_with_the_run(tmp_path, capsys):
    folder = tmp_path / "a run"
    seen = []
    with RunReport(folder, Output()) as report:
        for event in events(folder):
            report(event)
            seen.append(report.page.read_text(encoding="utf-8") if report.page.exists() else "")
        run_folders.config(folder, status="finished")
    assert seen[0] == ""
    assert "No epoch has ended yet." in seen[1]
    assert "epoch 1 of 10" in seen[2]
    assert 'data-status="finished"' in report.page.read_text(encoding="utf-8")
    assert f"watch it: torchgraft view '{folder}'" in capsys.readouterr().err


def test_the_report_says_how_a_run_failed(tmp_path):
    folder = tmp_path / "run"
    report = RunReport(folder, Output(quiet=True))
    for event in events(folder):
        report(event)
    run_folders.config(folder, status="failed", error="RuntimeError: out of memory")
    with pytest.raises(RuntimeError), report:
        raise RuntimeError
    assert "out of memory" in report.page.read_text(encoding="utf-8")
    (folder / "history.jsonl").unlink()
    (folder / "history.jsonl").mkdir()  # what can't be read is not what is told
    with pytest.raises(KeyError), RunReport(folder, Output(quiet=True)):
        raise KeyError


def test_no_run_no_report(tmp_path):
    with RunReport(tmp_path, Output()) as report:
        pass
    assert not report.page.exists()
