"""The real huggingface_hub against a hub of our own that lies: what it takes for the file, we don't."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from email.message import Message
from pathlib import Path

import pytest
from tests.storage.conftest import Answer, RangeServer

BODY, OTHER = random.Random(1).randbytes(50_000), random.Random(2).randbytes(50_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
COMMIT = "1" * 40

ASK = """
import json, sys
import huggingface_hub
from torchgraft.errors import FetchError
from torchgraft.storage.download import fetch
theirs = huggingface_hub.hf_hub_download("timm/net", "model.bin") if sys.argv[1] == "theirs" else None
try:
    ours = str(fetch("hf://timm/net/model.bin"))
except FetchError as error:
    ours = str(error)
print(json.dumps([theirs, ours]))
"""


def ask(server: RangeServer, home: Path, wrong: int, whose: str = "ours", **environment: str) -> list[str]:
    """What their library and `fetch` give; the first bodies that are sent are wrong, of the right length."""

    def lie(_before: int, answer: Answer, _asked: Message) -> Answer:
        told = answer.but(ETag=f'"{SHA256}"', X_Repo_Commit=COMMIT)
        bodies = server.log.requests  # with this one; what is asked by HEAD does not count
        return replace(told, body=OTHER) if bodies <= wrong else told

    server.files["timm/net/resolve/main/model.bin"] = BODY
    server.lie = lie
    home.mkdir(exist_ok=True)
    run = subprocess.run(
        [sys.executable, "-c", ASK, whose],
        capture_output=True,
        text=True,
        check=False,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("HF_")},
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            **environment,
        },
    )
    assert run.returncode == 0, run.stderr
    found: list[str] = json.loads(run.stdout)
    return found


def test_the_right_bytes(server: RangeServer, tmp_path: Path) -> None:
    _, ours = ask(server, tmp_path / "hf", wrong=0)
    assert Path(ours).read_bytes() == BODY
    assert server.log.requests == 1
    assert ask(server, tmp_path / "hf", wrong=0, HF_HUB_OFFLINE="1")[1] == ours
    assert server.log.requests == 1


def test_wrong_bytes_that_it_takes_are_replaced(server: RangeServer, tmp_path: Path) -> None:
    theirs, ours = ask(server, tmp_path / "hf", wrong=1, whose="theirs")
    assert theirs == ours  # the same path: it had kept the wrong bytes there
    assert Path(ours).read_bytes() == BODY
    assert server.log.requests == 2


def test_wrong_bytes_for_ever(server: RangeServer, tmp_path: Path) -> None:
    _, ours = ask(server, tmp_path / "hf", wrong=9)
    assert "the hub sent wrong bytes" in ours


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TORCHGRAFT_OFFLINE"])
def test_offline_with_nothing_there(variable: str, server: RangeServer, tmp_path: Path) -> None:
    _, ours = ask(server, tmp_path / "hf", wrong=0, **{variable: "1"})
    assert "this is offline" in ours
    assert "TORCHGRAFT_MIRROR to a folder that holds timm/net/model.bin" in ours
    assert server.log.requests == 0
