"""`create_model` with weights: each way of giving them, sizes, labels, and what the model remembers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

import torchgraft as tg
from torchgraft import CoverageError, ModelError, Preprocessing, create_model, info_of


def squeezenet(seed: int, **arguments: object) -> nn.Module:
    torch.manual_seed(seed)
    return torchvision.models.squeezenet1_1(**arguments).eval()


@pytest.fixture
def seven(tmp_path: Path) -> tuple[nn.Module, Path]:
    """A squeezenet of seven classes and its file."""
    model = squeezenet(1, num_classes=7)
    torch.save(model.state_dict(), tmp_path / "seven.pth")
    return model, tmp_path / "seven.pth"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address at which the test's folder is served."""
    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", ["Path", "str", "odd name", "Checkpoint", "in memory", "URL"])
def test_each_way_to_give_weights(kind, seven, served, tmp_path, monkeypatch, differing):
    model, path = seven
    monkeypatch.chdir(tmp_path)
    Path("weights").write_bytes(path.read_bytes())
    weights = {
        "Path": path,
        "str": "seven.pth",
        "odd name": "weights",
        "Checkpoint": tg.open(path),
        "in memory": tg.Checkpoint.from_state_dict(model.state_dict()),
        "URL": f"{served}/seven.pth",
    }[kind]
    assert differing(create_model("torchvision/squeezenet1_1", weights=weights), model) == []


def test_without_weights_it_is_the_builders_own_initialisation(differing):
    torch.manual_seed(3)
    assert differing(create_model("torchvision/squeezenet1_1"), squeezenet(3)) == []


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("torchvision/squeezenet1_1", "classifier.1"),
        ("torchvision/mobilenet_v3_small", "classifier.3"),
        ("timm/resnet10t", "fc"),
        ("timm/test_vit", "head"),
        ("own_net:Net", "fc"),
    ],
)
def test_a_checkpoint_of_other_sizes_loses_nothing(name, head, tmp_path, differing):
    small = create_model(name, in_channels=4, num_classes=6)
    torch.save(small.state_dict(), tmp_path / "small.pth")
    model = create_model(name, weights=tmp_path / "small.pth")
    assert [key for key in differing(model, small) if key != "table"] == []
    assert model.get_submodule(head).weight.shape[0] == 6
    (step,) = info_of(model).surgery
    assert (step["in_channels"], step["num_classes"], step["head"]) == (4, 6, [head])


def test_sizes_asked_for_come_after_the_weights(seven):
    old, path = seven
    model = create_model(
        "torchvision/squeezenet1_1", weights=path, in_channels=5, num_classes=2, in_mode="zeros"
    )
    stem = model.features[0].weight
    assert torch.equal(stem[:, :3], old.features[0].weight)
    assert not stem[:, 3:].any()
    assert model(torch.rand(1, 5, 64, 64)).shape == (1, 2)
    assert torch.equal(model.features[3].squeeze.weight, old.features[3].squeeze.weight)
    assert info_of(model).preprocessing.channels == 5


def test_labels_carry_rows(seven):
    old, path = seven
    model = create_model(
        "torchvision/squeezenet1_1", weights=path, source_labels=list("abcdefg"), labels=["g", "new", "b"]
    )
    rows = model.classifier[1].weight
    assert torch.equal(rows[0], old.classifier[1].weight[6])
    assert torch.equal(rows[2], old.classifier[1].weight[1])
    assert not (old.classifier[1].weight == rows[1]).flatten(1).all(1).any()
    assert info_of(model).labels == ("g", "new", "b")


@pytest.mark.parametrize(
    ("arguments", "labels"),
    [
        ({"source_labels": list("abcdefg")}, tuple("abcdefg")),
        ({}, None),
        ({"labels": list("ABCDEFG")}, tuple("ABCDEFG")),
        ({"num_classes": 4, "source_labels": list("abcdefg")}, None),
    ],
)
def test_labels_remembered(arguments, labels, seven):
    model = create_model("torchvision/squeezenet1_1", weights=seven[1], **arguments)
    assert info_of(model).labels == labels


def test_labels_of_a_head_that_is_not_last(tmp_path):
    torch.save(create_model("own_net:Net", classes=6).state_dict(), tmp_path / "six.pth")
    make = partial(create_model, "own_net:Net", weights=tmp_path / "six.pth", classes=6)
    assert info_of(make(source_labels=list("abcdef"))).labels == tuple("abcdef")
    with pytest.raises(ModelError, match="5 source_labels don't fit"):
        make(source_labels=list("abcde"))


@pytest.mark.parametrize("arguments", [{}, {"labels": ["c", "a"]}])
def test_source_labels_that_dont_fit_are_refused(arguments, seven):
    with pytest.raises(ModelError, match="3 source_labels don't fit"):
        create_model("torchvision/squeezenet1_1", weights=seven[1], source_labels=list("abc"), **arguments)
    with pytest.raises(ModelError, match="there are no weights"):
        create_model("torchvision/squeezenet1_1", source_labels=list("abc"), **arguments)


def test_what_it_remembers(seven):
    model = create_model("torchvision/squeezenet1_1", weights=seven[1], dropout=0.25)
    info = info_of(model)
    assert (info.builder, info.builder_args) == ("torchvision/squeezenet1_1", {"dropout": 0.25})
    assert info.preprocessing == Preprocessing(size=(224, 224), crop=224 / 256, interpolation="bilinear")
    assert info.weights["source"] == str(seven[1])
    assert (info.weights["matched by"], info.weights["format"]) == ("exact names", "torch zip")
    mine = Preprocessing(size=(32, 32))
    assert info_of(create_model("own_net:Net", preprocessing=mine)).preprocessing == mine
    assert info_of(create_model("own_net:Net")).preprocessing is None


def test_the_gate_holds_before_anything_is_returned(seven, tmp_path):
    old, _ = seven
    state = {key: tensor for key, tensor in old.state_dict().items() if "features.6." not in key}
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(CoverageError, match=r"features\.6"):
        create_model("torchvision/squeezenet1_1", weights=tmp_path / "part.pth")
    model = create_model(
        "torchvision/squeezenet1_1", weights=tmp_path / "part.pth", allow_fresh="features.6", num_classes=7
    )
    assert torch.equal(model.features[0].weight, old.features[0].weight)
    assert not any(tensor.is_meta or tensor.isnan().any() for tensor in model.state_dict().values())


def test_rename(seven, tmp_path, differing):
    old, _ = seven
    state = {key.replace("features.", "trunk."): tensor for key, tensor in old.state_dict().items()}
    torch.save(state, tmp_path / "renamed.pth")
    model = create_model(
        "torchvision/squeezenet1_1", weights=tmp_path / "renamed.pth", rename={"trunk.": "features."}
    )
    assert differing(model, old) == []
