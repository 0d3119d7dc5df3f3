"""Models of the hub, built from a folder, a cache and a hub of our own; transformers is the oracle."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from torch import nn

from torchgraft import (
    CoverageError,
    FetchError,
    MissingDependencyError,
    ModelError,
    UnknownModelError,
    create_model,
    info_of,
    list_models,
    load,
    published,
    save,
)
from torchgraft.zoo import find_source
from zoo_hub import COMMIT, cached_repository, serving

transformers = pytest.importorskip("transformers")

NAMES = ["cat", "dog", "emu"]
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
WORDS = {**SMALL, "vocab_size": 50, "bos_token_id": 1, "eos_token_id": 2}
IMAGE = {"image_size": 32, "patch_size": 8}


def vit(**changes: object) -> nn.Module:
    labels = {"id2label": dict(enumerate(NAMES)), "label2id": {name: at for at, name in enumerate(NAMES)}}
    config = transformers.ViTConfig(**SMALL, **IMAGE, **labels, **changes)
    return transformers.ViTForImageClassification(config)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "vit": vit,
    "convnext": lambda: transformers.ConvNextForImageClassification(
        transformers.ConvNextConfig(hidden_sizes=[8, 16, 16, 16], depths=[1, 1, 1, 1], num_labels=4)
    ),
    "resnet": lambda: transformers.ResNetForImageClassification(
        transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=5)
    ),
    "swin": lambda: transformers.SwinForImageClassification(
        transformers.SwinConfig(
            image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4
        )
    ),
    "bert, tied": lambda: transformers.BertForMaskedLM(transformers.BertConfig(**SMALL, vocab_size=50)),
    "gpt2, tied": lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            n_embd=16, n_layer=2, n_head=2, vocab_size=50, n_positions=32, bos_token_id=1, eos_token_id=2
        )
    ),
    "llama, bfloat16": lambda: transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**WORDS, num_key_value_heads=1)
    ).bfloat16(),
    "t5, tied": lambda: transformers.T5ForConditionalGeneration(
        transformers.T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    ),
    "dinov2, no head": lambda: transformers.Dinov2Model(
        transformers.Dinov2Config(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
        )
    ),
}


def saved(model: nn.Module, folder: Path, **how: object) -> Path:
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.05)
    model.eval().save_pretrained(folder, **how)
    return folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder; huggingface_hub's cache is in it, and it asks nobody."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


@pytest.fixture
def online(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], list[str]]]:
    """Puts a small ViT on a hub of our own, and gives what is asked of it."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("no_proxy", "*")
    folder = saved(vit(), place / "there", max_shard_size="20KB")
    with serving({"own/vit": folder}) as (address, asked):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + template)
        huggingface_hub.close_session()
        yield asked
    huggingface_hub.close_session()


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(model.named_buffers()), **model.state_dict()}


def assert_same(ours: nn.Module, theirs: nn.Module) -> None:
    a, b = state(ours), state(theirs)
    assert type(ours) is type(theirs)
    assert a.keys() == b.keys()
    assert [key for key in b if a[key].dtype != b[key].dtype or not torch.equal(a[key], b[key])] == []


@pytest.mark.parametrize("shards", [None, "20KB"])
@pytest.mark.parametrize("kind", MODELS)
def test_a_folder_gives_what_from_pretrained_gives(kind, shards, place, differing):
    saved(MODELS[kind](), place / "it", **({"max_shard_size": shards} if shards else {}))
    ours = create_model("hf/./it", weights="DEFAULT")
    theirs = type(ours).from_pretrained(place / "it").eval()
    assert_same(ours, theirs)
    if hasattr(theirs.config, "image_size") or kind in ("convnext", "resnet"):
        x = torch.rand(2, 3, *[getattr(theirs.config, "image_size", 32)] * 2)
        with torch.no_grad():
            assert torch.equal(ours(x)[0], theirs(x)[0])


@pytest.mark.skipif(not hasattr(transformers, "NomicBertConfig"), reason="too old")
def test_the_librarys_own_names_are_known(place):
    """Its files call two layers of one shape `fc11` and `fc12`, in the other order than the model's."""
    config = transformers.NomicBertConfig(**SMALL, vocab_size=50, head_dim=8)
    saved(transformers.NomicBertModel(config), place / "it")
    ours = create_model("hf/./it", weights="DEFAULT", allow_fresh="*.self_attn.*").state_dict()
    theirs = transformers.NomicBertModel.from_pretrained(place / "it").state_dict()
    mlp = [key for key in theirs if ".mlp." in key]
    assert len(mlp) == 6
    assert [key for key in mlp if not torch.equal(ours[key], theirs[key])] == []


def test_labels_preprocessing_and_licence(place):
    saved(vit(), place / "it")
    size = {"height": 32, "width": 32}
    transformers.ViTImageProcessor(size=size, resample=3).save_pretrained(place / "it")
    (place / "it" / "README.md").write_text("---\ntags: [x]\nlicense: apache-2.0\n---\n# It\n")
    info = info_of(create_model("hf/./it", weights="DEFAULT"))
    assert info.labels == tuple(NAMES)
    assert (info.preprocessing.size, info.preprocessing.interpolation) == ((32, 32), "bicubic")
    assert info.preprocessing.squash
    model = published("hf/./it")
    (weights,) = model.weights
    assert (weights.licence, weights.classes, weights.input_size) == ("apache-2.0", 3, (3, 32, 32))
    assert model.parameters == sum(one.numel() for one in vit().parameters())
    assert weights.cached == Path("it/model.safetensors")
    assert weights.nbytes == (place / "it" / "model.safetensors").stat().st_size


def test_it_can_be_changed_like_any_other(place):
    theirs = saved(vit(), place / "it")
    model = create_model("hf/./it", weights="DEFAULT", in_channels=4, labels=["emu", "new", "cat"])
    old = transformers.ViTForImageClassification.from_pretrained(theirs)
    assert torch.equal(model.classifier.weight[[0, 2]], old.classifier.weight[[2, 0]])
    assert model.config.num_channels == 4
    bare = create_model("hf/./it")
    assert info_of(bare).labels is None
    assert not torch.equal(bare.classifier.weight, old.classifier.weight)
    assert create_model("hf/./it", num_hidden_layers=1).config.num_hidden_layers == 1


def test_a_saved_one_comes_back_without_the_hub(place):
    saved(vit(), place / "it")
    model = create_model("hf/./it", weights="DEFAULT", num_classes=5)
    save(model, place / "out")
    shutil.rmtree(place / "it")
    again = load(place / "out")
    assert_same(again, model)
    assert info_of(again).labels == info_of(model).labels


def test_the_cache_is_used_and_nobody_asked(place):
    folder = saved(vit(), place / "it", max_shard_size="20KB")
    snapshot = cached_repository(place / "hub", "own/vit", folder)
    shutil.rmtree(folder)
    ours = create_model("hf/own/vit", weights="DEFAULT")
    assert_same(ours, transformers.ViTForImageClassification.from_pretrained(snapshot))
    assert list_models("hf/*") == ["hf/own/vit"]
    (weights,) = published("hf/own/vit").weights
    assert weights.cached == snapshot / "model.safetensors.index.json"
    assert weights.nbytes == sum(shard.stat().st_size for shard in snapshot.glob("*.safetensors"))


def test_it_is_downloaded_once(online, place):
    ours = create_model("hf/own/vit", weights="DEFAULT")
    assert_same(ours, transformers.ViTForImageClassification.from_pretrained(place / "there"))
    fetched = [line.partition("/resolve/main/")[2] for line in online if line.startswith("GET own")]
    assert fetched == ["config.json", "model.safetensors.index.json", *fetched[2:]]
    assert sorted(fetched[2:]) == sorted(file.name for file in (place / "there").glob("*-of-*"))
    online.clear()
    assert_same(create_model("hf/own/vit", weights="DEFAULT"), ours)
    assert [line for line in online if line.startswith("GET own")] == []
    assert (place / "hub" / "models--own--vit" / "snapshots" / COMMIT / "config.json").is_symlink()


def test_a_revision(online):
    create_model("hf/own/vit@v2", weights="DEFAULT")
    assert "HEAD own/vit/resolve/v2/config.json" in online
    with pytest.raises(FetchError, match="RevisionNotFound"):
        create_model("hf/own/vit@v9", weights="DEFAULT")


def test_what_the_hub_does_not_have(online):
    with pytest.raises(FetchError, match="RepositoryNotFound") as caught:
        create_model("hf/own/nothing", weights="DEFAULT")
    assert "check the name" in str(caught.value.hint)


def test_offline_it_says_what_is_missing(place):
    with pytest.raises(FetchError, match="offline") as caught:
        create_model("hf/own/vit", weights="DEFAULT")
    assert caught.value.where == "own/vit/config.json"
    folder = saved(vit(), place / "it")
    (folder / "model.safetensors").unlink()
    cached_repository(place / "hub", "own/vit", folder)
    with pytest.raises(FetchError) as caught:
        create_model("hf/own/vit", weights="DEFAULT")
    assert caught.value.where == "own/vit/model.safetensors"


def test_a_shard_that_is_missing(place):
    folder = saved(vit(), place / "it", max_shard_size="20KB")
    next(folder.glob("*-00002-of-*")).unlink()
    cached_repository(place / "hub", "own/vit", folder)
    with pytest.raises(FetchError, match="offline") as caught:
        create_model("hf/own/vit", weights="DEFAULT")
    assert "-00002-of-" in str(caught.value.where)


CONFIGS = {
    "code of its own": (
        {"model_type": "own", "auto_map": {"AutoModel": "code.Own"}},
        "unknown to transformers",
    ),
    "a class of its own": ({"architectures": ["OwnModel"], "auto_map": {}}, "'OwnModel', no model"),
    "not a model": ({"architectures": ["AutoTokenizer"]}, "no model of transformers"),
    "a function": ({"architectures": ["pipeline"]}, "no model of transformers"),
    "no text": ({"architectures": [3]}, "no model of transformers"),
    "a private name": ({"architectures": ["__doc__"]}, "no model of transformers"),
    "wrong values": ({"hidden_size": "many"}, "hidden_size"),
    "no kind": ({"model_type": None}, "unknown to transformers"),
    "a list for a kind": ({"model_type": ["vit"]}, "unknown to transformers"),
}


@pytest.mark.parametrize("what", CONFIGS)
def test_configs_that_are_refused(what, place):
    changes, message = CONFIGS[what]
    folder = saved(vit(), place / "it")
    (folder / "own_code.py").write_text("raise SystemExit('run')")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(ModelError, match=message) as caught:
        create_model("hf/./it", weights="DEFAULT")
    assert str(caught.value.where).startswith("hf/./it")


@pytest.mark.parametrize("text", ["", "[]", "{", "3", "[" * 100_000])
def test_a_config_that_is_no_object(text, place):
    (place / "it").mkdir()
    (place / "it" / "config.json").write_text(text)
    with pytest.raises(ModelError, match="can't be read"):
        create_model("hf/./it")


def test_folders_that_are_something_else(place):
    (place / "empty").mkdir()
    with pytest.raises(UnknownModelError, match=r"no config\.json"):
        create_model("hf/./empty")
    (place / "empty" / "config.json").write_text('{"architecture": "resnet18", "num_classes": 3}')
    with pytest.raises(UnknownModelError, match="a model of timm") as caught:
        create_model("hf/./empty")
    assert "timm/resnet18" in str(caught.value.hint)


def test_without_architectures_it_is_the_plain_model(place):
    folder = saved(vit(), place / "it")
    config = json.loads((folder / "config.json").read_text())
    del config["architectures"]
    (folder / "config.json").write_text(json.dumps(config))
    assert type(create_model("hf/./it")) is transformers.ViTModel


def test_a_file_of_ones_own_and_the_gate(place):
    folder = saved(vit(), place / "it")
    other = saved(vit(), place / "other")
    assert_same(
        create_model("hf/./it", weights=other / "model.safetensors"),
        transformers.ViTForImageClassification.from_pretrained(other),
    )
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(CoverageError):
        create_model("hf/./it", weights="DEFAULT")
    with pytest.raises(ModelError, match="no published weights 'v2'"):
        create_model("hf/./it", weights="v2")
    with pytest.raises(ModelError, match="no wings"):
        create_model("hf/./it", wings=2)


def test_without_transformers(place, monkeypatch):
    saved(vit(), place / "it")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependencyError) as caught:
        create_model("hf/./it", weights="DEFAULT")
    assert caught.value.hint == "pip install 'torchgraft[hf]'"


def test_without_huggingface_hub(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    source, inner = find_source("hf/own/vit")
    with pytest.raises(MissingDependencyError) as caught:
        source.build(inner, {})
    assert caught.value.hint == "pip install huggingface_hub"
