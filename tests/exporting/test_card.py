"""Model cards, read by huggingface_hub."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st

import torchgraft as tg
from torchgraft.exporting.facts import without_folders
from torchgraft.exporting.front_matter import front_matter
from torchgraft.model_info import attach_info
from torchgraft.zoo import PublishedWeights

TEXT = st.text(st.characters(exclude_categories=["Cs"]))  # YAML has no halves of characters
NAME = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: (
        st.lists(TEXT | inner, min_size=1).filter(
            lambda items: not any(isinstance(item, list) for item in items)
        )
        | st.dictionaries(NAME, inner, min_size=1)
    ),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(NAME, VALUES, min_size=1))
def test_yaml_reads_what_was_meant(data):
    text = front_matter(data)
    assert text.startswith("---\n")
    assert text.endswith("---\n")
    assert yaml.safe_load(text[4:-4]) == data


WORDS = [
    "no",
    "yes",
    "on",
    "null",
    "1.0",
    "1e3",
    "2024-01-01",
    "a: b",
    "- x",
    "#x",
    "",
    " x",
    "apache-2.0",
    "~",
    "0x1f",
]


@pytest.mark.parametrize("word", WORDS)
def test_words_that_yaml_takes_for_something_else(word):
    assert yaml.safe_load(front_matter({"key": word, "list": [word]})[4:-4]) == {"key": word, "list": [word]}


def card(model, path, **arguments):
    tg.export(model, path / "README.md", **arguments)
    return ModelCard.load(path / "README.md")


def test_nothing_is_made_up(small, tmp_path):
    found = card(small, tmp_path)
    assert found.data.license == "unknown"
    assert found.data.library_name == "pytorch"
    assert found.data.pipeline_tag == "image-classification"
    assert found.data.base_model is None
    assert found.data.datasets is None
    assert found.data.eval_results is None
    assert "source: unknown" in found.text
    assert "Unknown. Find out" in found.text


LICENCES = {
    "apache-2.0": {"license": "apache-2.0"},
    "https://github.com/them/LICENSE": {
        "license": "other",
        "license_link": "https://github.com/them/LICENSE",
    },
    "CC-BY NC": {"license": "other", "license_name": "CC-BY NC"},
}


@pytest.mark.parametrize("licence", LICENCES)
def test_what_was_published_of_the_weights(licence, small, tmp_path):
    published = PublishedWeights("a1", hub=("timm/resnet18.a1", "model.safetensors"), licence=licence)
    attach_info(small, replace(tg.info_of(small), weights=published.provenance))
    found = card(small, tmp_path)
    assert LICENCES[licence].items() <= found.data.to_dict().items()
    assert found.data.base_model == "timm/resnet18.a1"
    assert f"{licence}, as far as is known" in found.text


def test_a_model_remembers_what_was_published(tmp_path, monkeypatch):
    state = tg.create_model("torchvision/resnet18").state_dict()
    weights = PublishedWeights("V1", hub=("a/b", "w"), revision="main", licence="bsd-3-clause")
    monkeypatch.setattr(
        "torchgraft.zoo.creating.open_weights",
        lambda *_: (tg.Checkpoint.from_state_dict(state), weights),
    )
    model = tg.create_model("torchvision/resnet18", weights="V1", num_classes=2)
    found = card(model, tmp_path)
    assert (found.data.license, found.data.base_model) == ("bsd-3-clause", "a/b")
    assert "published as: V1" in found.text
    assert card(model, tmp_path, card={"license": "mit"}).data.license == "mit"


def test_what_the_user_says_is_there(small, tmp_path):
    said = {"license": "mit", "base_model": "timm/resnet18", "datasets": "elpv", "tags": ["cells"]}
    found = card(small, tmp_path, card=said)
    assert (found.data.license, found.data.base_model) == ("mit", "timm/resnet18")
    assert (found.data.datasets, found.data.tags) == (["elpv"], ["cells"])
    assert "mit, as far as is known" in found.text


def test_a_model_of_no_images_is_no_classifier_of_them(tmp_path):
    found = card(torch.nn.Linear(3, 2), tmp_path)
    assert found.data.pipeline_tag is None
    assert found.data.tags == ["torchgraft"]


def test_metrics_of_a_run(small, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    numbers = {"count": 40, "accuracy": 0.875, "macro_f1": 0.5, "roc_auc": None, "log_loss": 0.25}
    (run / "metrics.json").write_text(json.dumps({"epoch": 3, **numbers}))
    arguments = {"recipe": "full"}
    (run / "config.json").write_text(json.dumps({"arguments": arguments, "data": "/home/jane/secret/photos"}))
    found = card(small, tmp_path, run=run)
    (result, *others) = found.data.eval_results
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.875)
    assert [other.metric_type for other in others] == ["macro_f1", "log_loss"]
    assert result.dataset_name == "photos"
    assert found.data.metrics == ["accuracy", "macro_f1", "log_loss"]
    assert "| Accuracy | 0.8750 |" in found.text
    assert "On 40 images of photos that were held out, after full." in found.text
    assert "jane" not in found.content


def test_the_plan_and_the_surgery(tmp_path):
    model = tg.create_model("torchvision/resnet18")
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    plan = tg.plan(model, state)
    plan.apply()
    tg.adapt(model, in_channels=4, labels=["x", "<b>y</b>"])
    text = card(model, tmp_path, plan=plan).text
    assert f"plan: {plan.summary}" in text
    assert "matched by: prefix 'module.' removed" in text
    assert "in channels 4" in text
    assert "classes: 2: x, \\<b\\>y\\</b\\>" in text


TEXTS = {
    "/home/jane/a b/w.pth [state_dict]": "w.pth [state_dict]",
    "/home/jane/w.pth": "w.pth",
    "C:\\Users\\jane\\w.pth": "w.pth",
    "~/w.pth": "w.pth",
    "https://host/a/w.pth": "https://host/a/w.pth",
    "hf://owner/name/w.safetensors": "hf://owner/name/w.safetensors",
    "timm/resnet18.a1_in1k": "timm/resnet18.a1_in1k",
    "prefix 'module.' removed": "prefix 'module.' removed",
    "read from /home/jane/w.pth, all used": "read from w.pth, all used",
}


@pytest.mark.parametrize("text", TEXTS)
def test_folders_of_this_machine_are_left_out(text):
    assert without_folders(text) == TEXTS[text]
