"""What `save` keeps of a model: ties, its own elements only, its description; and a model pickled whole."""

from __future__ import annotations

import json
import logging
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, load_model, save_model
from torch import nn

import torchgraft as tg
from torchgraft import SaveError


class Language(nn.Module):
    """Its head is its table, under a name that ends differently; built without the tie."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 8)
        self.layer = nn.Linear(8, 8)
        self.head = nn.Linear(8, 50, bias=False)
        self.register_parameter("table", nn.Parameter(torch.zeros(50, 8)))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(self.embed(tokens))) + self.table.sum()


def tied() -> Language:
    model = Language()
    model.head.weight = model.embed.weight
    model.table = model.embed.weight
    return model


def description(path: Path) -> Any:
    return json.loads(str(tg.open(path).metadata["torchgraft"]))


@pytest.mark.parametrize("name", ["x.safetensors", "folder", "shards"])
def test_tied_weights_are_stored_once_and_tied_again(name: str, tmp_path: Path) -> None:
    model = tied()
    path = tg.save(model, tmp_path / name, shard_size=260 if name == "shards" else None)
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    assert len(files) == (3 if name == "shards" else 1)
    stored = [key for file in files for key in load_file(file)]
    assert sorted(stored) == ["layer.bias", "layer.weight", "table"]
    opened = tg.open(path).state_dict()
    assert opened.keys() == model.state_dict().keys()
    assert opened["embed.weight"] is opened["head.weight"] is opened["table"]
    back = tg.load(path, builder="test_models_language:Language")
    assert back.embed.weight is back.head.weight is back.table
    assert torch.equal(back.table, model.table)
    assert isinstance(back.table, nn.Parameter)


@pytest.fixture(autouse=True)
def language_module(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    from types import ModuleType

    module = ModuleType("test_models_language")
    module.Language = Language  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "test_models_language", module)


def test_safetensors_own_reader_takes_the_notes_of_ties(tmp_path: Path) -> None:
    model, back = tied(), tied()
    load_model(back, tg.save(model, tmp_path / "ours.safetensors"))
    assert torch.equal(back.head.weight, model.head.weight)
    save_model(model, str(tmp_path / "theirs.safetensors"))
    ours, theirs = (load_file(tmp_path / f"{who}.safetensors") for who in ("ours", "theirs"))
    assert len(ours) == len(theirs) == 3  # they keep another of the three names


def test_what_was_not_tied_is_not_tied_again(tmp_path: Path) -> None:
    model = Language()
    with torch.no_grad():
        model.head.weight.copy_(model.embed.weight)
    back = tg.load(tg.save(model, tmp_path / "x"), builder="test_models_language:Language")
    assert back.embed.weight is not back.head.weight


def test_weights_alone_keep_every_name(tmp_path: Path) -> None:
    weights = tied().state_dict()
    assert load_file(tg.save(weights, tmp_path / "x.safetensors")).keys() == weights.keys()


BASE = torch.arange(100_000.0)
PARTS = {
    "slice": lambda: BASE[10:20],
    "rows": lambda: BASE.reshape(1000, 100)[3],
    "every other": lambda: BASE[::20_000],
    "expanded": lambda: torch.ones(1).expand(7),
    "transposed": lambda: BASE[:12].reshape(3, 4).t(),
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8),
    "sparse": lambda: torch.eye(3).to_sparse(),
}


@pytest.mark.filterwarnings("ignore:Validating sparse", "ignore:TypedStorage", "ignore:torch.quantize_per")
@pytest.mark.parametrize("with_torch", [False, True])
@pytest.mark.parametrize("name", PARTS)
def test_a_part_of_a_tensor_is_written_alone(name: str, with_torch: bool, tmp_path: Path) -> None:
    part = PARTS[name]()
    more = {"sparse": torch.eye(2).to_sparse()} if with_torch else {}
    path = tg.save({"a": part, "b": part, **more}, tmp_path / "x.pth")
    assert path.stat().st_size < 20_000
    loaded = torch.load(path, weights_only=True)
    assert (loaded["a"].shape, loaded["a"].dtype) == (part.shape, part.dtype)
    if name not in ("quantised", "sparse"):
        assert torch.equal(loaded["a"], part)
        assert loaded["a"].untyped_storage().nbytes() <= part.numel() * 4
        assert loaded["a"].data_ptr() == loaded["b"].data_ptr()
    else:
        dense = loaded["a"].dequantize() if name == "quantised" else loaded["a"].to_dense()
        assert torch.equal(dense, part.dequantize() if name == "quantised" else part.to_dense())


def test_overlapping_parts_are_written_each_for_itself(tmp_path: Path) -> None:
    weights = {"all": BASE[:10], "end": BASE[5:10], "flat": BASE[:10].view(2, 5)}
    loaded = torch.load(tg.save(weights, tmp_path / "x.pth"), weights_only=True)
    assert all(torch.equal(loaded[key], value) for key, value in weights.items())
    assert len({value.data_ptr() for value in loaded.values()}) == 3


def test_shards_are_read_by_transformers_and_huggingface_hub(tmp_path: Path) -> None:
    from huggingface_hub import load_torch_model

    model = nn.Sequential(*(nn.Linear(20, 20) for _ in range(5)))
    path = tg.save(model, tmp_path / "out", shard_size="4KB")
    assert sorted(p.name for p in path.iterdir()) == [
        *(f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)),
        "model.safetensors.index.json",
        "torchgraft.json",
    ]
    assert max(p.stat().st_size for p in path.glob("*.safetensors")) < 4000 + 3000
    back = nn.Sequential(*(nn.Linear(20, 20) for _ in range(5)))
    load_torch_model(back, path, safe=True, strict=True)
    for key, value in model.state_dict().items():
        assert torch.equal(back.state_dict()[key], value)


@pytest.mark.parametrize("shard_size", [None, "20KB"])
def test_an_adapted_model_comes_back(shard_size: str | None, tmp_path: Path) -> None:
    model = tg.create_model("timm/resnet10t", in_channels=4, labels=["a", "b", "c"])
    path = tg.save(model, tmp_path / "out", shard_size=shard_size)
    back = tg.load(path)
    image = torch.rand(1, 4, 64, 64)
    assert torch.equal(back(image), model(image))
    assert tg.info_of(back) == tg.info_of(model)


def test_the_description_says_where_the_weights_are_from(tmp_path: Path) -> None:
    source = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    torch.save(source.state_dict(), tmp_path / "net-0123abcd.pth")
    own = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    report = tg.graft(own, tmp_path / "net-0123abcd.pth")
    tg.model_info.attach_info(own, tg.ModelInfo(weights=report.plan.provenance))
    path = tg.save(own, tmp_path / "out", notes={"accuracy": 0.9, "epochs": [1, 2]})
    about = description(path / "model.safetensors")
    weights = about["info"]["weights"]
    assert weights["source"].endswith("net-0123abcd.pth")
    assert weights["summary"].startswith("4 loaded, 0 adapted")
    assert weights["bytes"] == str((tmp_path / "net-0123abcd.pth").stat().st_size)
    assert weights["sha256 begins"] == "0123abcd"
    assert about["versions"]["torch"] == version("torch")
    assert about["notes"] == {"accuracy": 0.9, "epochs": [1, 2]}
    assert json.loads((path / "torchgraft.json").read_text(encoding="utf-8")) == about


def test_notes_that_are_no_data(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match="notes= can't be written as JSON"):
        tg.save(nn.Linear(2, 2), tmp_path / "x", notes={"a": torch.ones(1)})
    with pytest.raises(SaveError, match="no place for notes"):
        tg.save(nn.Linear(2, 2), tmp_path / "x.pth", notes={})
    assert list(tmp_path.iterdir()) == []


def test_a_whole_model(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    with caplog.at_level(logging.WARNING):
        path = tg.save(model, tmp_path / "x.pth", whole=True)
    assert "same code again (torch.nn.modules.container.Sequential)" in caplog.text
    assert "runs whatever the file says" in caplog.text
    back = torch.load(path, weights_only=False)
    assert isinstance(back, nn.Sequential)
    image = torch.rand(1, 2)
    assert torch.equal(back(image), model(image))
    assert tg.open(path).keys() == model.state_dict().keys()  # without running anything


@pytest.mark.parametrize("source", ["local", "lambda", "state dict"])
@pytest.mark.parametrize("name", ["x.pth", "x.safetensors", "x"])
def test_what_is_no_whole_model(source: str, name: str, tmp_path: Path) -> None:
    class Local(nn.Linear):
        pass

    given: Any = Local(2, 2)
    if source == "lambda":
        given = nn.Linear(2, 2)
        given.act = lambda x: x
    elif source == "state dict":
        given = given.state_dict()
    (tmp_path / "x.pth").write_text("old")
    with pytest.raises(SaveError, match=r"can't be pickled|is a pickle|needs a model"):
        tg.save(given, tmp_path / name, whole=True)
    assert [p.name for p in tmp_path.iterdir()] == ["x.pth"]
    assert (tmp_path / "x.pth").read_text() == "old"


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_one_file_has_no_shards(name: str, tmp_path: Path) -> None:
    with pytest.raises(SaveError, match="several files need a folder"):
        tg.save(nn.Linear(2, 2), tmp_path / name, shard_size="1MB")
    with pytest.raises(ValueError, match="is no size"):
        tg.save(nn.Linear(2, 2), tmp_path / "x", shard_size="large")
