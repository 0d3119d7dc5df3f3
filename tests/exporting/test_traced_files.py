"""ONNX and `torch.export` files, run by onnxruntime and PyTorch themselves."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import torchgraft as tg

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def by_onnxruntime(path, feed):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    if not isinstance(feed, dict):
        (name,) = names
        feed = {name: feed}
    return session.run(None, {name: value.numpy() for name, value in feed.items()})


def test_onnx_takes_batches_of_any_size(small, tmp_path):
    path = tmp_path / "small.onnx"
    exported = tg.export(small, path)
    assert exported.format == "onnx"
    assert exported.difference is not None
    assert exported.difference < 1e-5
    assert exported.notes == ()
    assert "batches of 1, 2, 3" in exported.checked
    onnx.checker.check_model(path)
    for size in (1, 5):
        images = torch.rand(size, 3, 32, 32)
        (found,) = by_onnxruntime(path, images)
        np.testing.assert_allclose(found, small(images).detach(), rtol=0, atol=1e-6)


def test_onnx_holds_class_names_and_preprocessing(small, tmp_path):
    tg.export(small, tmp_path / "small.onnx")
    said = {entry.key: entry.value for entry in onnx.load(tmp_path / "small.onnx").metadata_props}
    assert json.loads(said["labels"]) == list("abcde")
    how = tg.Preprocessing.from_json(json.loads(said["preprocessing"]))
    assert how == tg.info_of(small).preprocessing


def test_the_opset_asked_for(small, tmp_path):
    exported = tg.export(small, tmp_path / "small.onnx", opset=18)
    assert "opset 18" in exported.checked
    (said,) = [each.version for each in onnx.load(tmp_path / "small.onnx").opset_import if not each.domain]
    assert said == 18


def test_torch_export_is_equal_bit_for_bit(small, tmp_path):
    exported = tg.export(small, tmp_path / "small.pt2")
    assert (exported.format, exported.difference) == ("torch.export", 0.0)
    about = {"labels": "", "preprocessing": ""}
    again = torch.export.load(str(tmp_path / "small.pt2"), extra_files=about).module()
    for size in (1, 4):
        images = torch.rand(size, 3, 32, 32)
        assert torch.equal(again(images), small(images))
    assert json.loads(about["labels"]) == list("abcde")


@pytest.mark.parametrize("ending", [".onnx", ".pt2"])
def test_the_model_is_left_as_it_was(ending, small, tmp_path):
    small.train()
    before = {name: value.clone() for name, value in small.state_dict().items()}
    flags = [parameter.requires_grad for parameter in small.parameters()]
    tg.export(small, tmp_path / f"small{ending}")
    assert small.training
    assert all(module.training for module in small.modules())
    assert [parameter.requires_grad for parameter in small.parameters()] == flags
    for name, value in small.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("ending", [".onnx", ".pt2"])
def test_keyword_arguments(ending, tmp_path):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.BertConfig(vocab_size=100, num_labels=4, **sizes)
    model = transformers.BertForSequenceClassification(config).eval()
    given = {"input_ids": torch.randint(100, (1, 6)), "attention_mask": torch.ones(1, 6, dtype=torch.long)}
    path = tmp_path / f"bert{ending}"
    exported = tg.export(model, path, inputs=given)
    assert exported.notes == ()
    three = {name: value.repeat(3, 1) for name, value in given.items()}
    expected = model(**three).logits.detach()
    if ending == ".onnx":
        found = torch.from_numpy(by_onnxruntime(path, three)[0])
    else:
        found = torch.export.load(str(path)).module()(**three).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_a_language_model_goes_without_its_cache(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        n_embd=32, n_layer=1, n_head=2, vocab_size=100, bos_token_id=1, eos_token_id=1
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    tg.export(model, tmp_path / "gpt2.pt2")
    assert model.config.use_cache is True
    given = torch.randint(100, (2, 16))
    again = torch.export.load(str(tmp_path / "gpt2.pt2")).module()
    mask = torch.ones_like(given)
    found = again(input_ids=given, attention_mask=mask)
    assert torch.equal(found.logits, model(input_ids=given, attention_mask=mask).logits)


class OnePicture(nn.Module):
    """Its code depends on how many pictures there are."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return torch.stack([x[i].mean((1, 2)) * (i + 1) for i in range(len(x))])


class OnValues(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) if float(x.sum()) > 0 else self.conv(-x)


@pytest.mark.parametrize("ending", [".onnx", ".pt2"])
def test_a_batch_that_is_fixed_is_said_to_be(ending, tmp_path):
    exported = tg.export(OnePicture(), tmp_path / f"one{ending}", inputs=torch.rand(2, 3, 16, 16))
    (note,) = exported.notes
    assert "batches of 2 only" in note


@pytest.mark.parametrize("ending", [".onnx", ".pt2"])
def test_what_has_no_graph_is_refused_in_a_few_words(ending, tmp_path, capfd):
    with pytest.raises(tg.SaveError, match="can't turn OnValues into a graph") as caught:
        tg.export(OnValues(), tmp_path / f"one{ending}", inputs=torch.rand(2, 3, 16, 16))
    assert len(str(caught.value)) < 1000
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


class OtherwiseTraced(nn.Module):
    """Takes a short cut when it is exported, as some libraries' models do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.conv(x).mean((2, 3))
        return out * 1.01 if torch.compiler.is_compiling() else out


@pytest.mark.parametrize("ending", [".onnx", ".pt2"])
def test_a_difference_is_found_before_the_file_is_there(ending, tmp_path):
    path = tmp_path / f"model{ending}"
    path.write_text("the old one")
    with pytest.raises(tg.SaveError, match="differ by up to"):
        tg.export(OtherwiseTraced(), path)
    assert path.read_text() == "the old one"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert tg.export(OtherwiseTraced(), path, tolerance=0.02).difference == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_an_absent_package_is_named(package, small, tmp_path, monkeypatch):
    monkeypatch.setattr("torchgraft.exporting.traced_files.find_spec", lambda name: name != package or None)
    with pytest.raises(tg.MissingDependencyError, match=f"needs {package}, which") as caught:
        tg.export(small, tmp_path / "small.onnx")
    assert caught.value.hint == "pip install 'torchgraft[onnx]'"
