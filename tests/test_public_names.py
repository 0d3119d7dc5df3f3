"""What `torchgraft` exports, spelled out; and that none of it costs PyTorch before it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import torchgraft

NAMES = [
    "AdaptError",
    "AmbiguousMatchError",
    "AnatomyError",
    "Checkpoint",
    "CheckpointError",
    "CorruptCheckpointError",
    "CoverageError",
    "DataError",
    "Diff",
    "Exported",
    "FetchError",
    "ImageData",
    "MatchError",
    "MissingDependencyError",
    "ModelError",
    "ModelInfo",
    "NoWeightsError",
    "Plan",
    "Preprocessing",
    "PublishedModel",
    "PublishedWeights",
    "SaveError",
    "StatisticsCheck",
    "TensorRef",
    "TorchgraftError",
    "TrainingError",
    "UnknownFormatError",
    "UnknownModelError",
    "UnsafeCheckpointError",
    "Verification",
    "VerificationError",
    "__version__",
    "adapt",
    "check_statistics",
    "convert",
    "create_model",
    "describe",
    "diff",
    "evaluate",
    "examine",
    "export",
    "fetch",
    "find_lr",
    "finetune",
    "graft",
    "grow",
    "info_of",
    "list_models",
    "load",
    "open",
    "plan",
    "predict",
    "predict_iter",
    "published",
    "read_labels",
    "save",
    "verify",
    "write_report",
]


def test_the_names_are_these():
    assert sorted(torchgraft.__all__) == sorted(NAMES)
    assert dir(torchgraft) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_is_there_under_its_name(name):
    value = getattr(torchgraft, name)
    if name != "__version__":
        assert value.__name__ == name
        assert value.__doc__


def test_type_checkers_see_the_same_names():
    """The imports under `TYPE_CHECKING`, and the table that stands for them when the program runs."""
    tree = ast.parse(Path(torchgraft.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.name: node.module.split(".")[1]
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    assert seen == torchgraft._HOME
    assert {*seen, "__version__"} == set(NAMES)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'torchgraft' has no attribute 'grft'"):
        torchgraft.grft  # noqa: B018 (looking it up is the test)
    with pytest.raises(ImportError, match="grft"):
        from torchgraft import grft  # noqa: F401


def test_star_gives_the_same_names():
    found: dict[str, object] = {}
    exec("from torchgraft import *", found)
    assert set(NAMES) <= set(found)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "w.pth"
    torch.save({"state_dict": {"fc.weight": torch.rand(3, 2)}, "epoch": 3}, path)
    return path


WITHOUT_TORCH = {
    "the import": "import torchgraft",
    "its names": "import torchgraft; dir(torchgraft); torchgraft.__version__",
    "errors": "from torchgraft import CoverageError, TorchgraftError",
    "model infos": "from torchgraft import ModelInfo, Preprocessing; ModelInfo().to_json()",
    "opening": "import torchgraft as tg; c = tg.open(FILE); str(c); c['fc.weight'].nbytes",
    "--help": "RUN(['--help'])",
    "help of a command": "RUN(['finetune', '--help'])",
    "--version": "RUN(['--version'])",
    "inspect": "RUN(['inspect', FILE])",
    "diff": "RUN(['diff', FILE, FILE])",
    "inspect as JSON": "RUN(['inspect', FILE, '--json'])",
}


@pytest.mark.parametrize("what", WITHOUT_TORCH)
def test_without_torch(file, what):
    code = f"""
import sys
FILE = {str(file)!r}

def RUN(arguments):
    from torchgraft.cli import main
    sys.argv = ['torchgraft', *arguments]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, stop.code

{WITHOUT_TORCH[what]}
heavy = {{'torch', 'torchvision', 'timm', 'numpy', 'accelerate', 'transformers'}} & sys.modules.keys()
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if what == "inspect":
        assert "fc.weight" in done.stdout
