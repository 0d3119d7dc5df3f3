"""Every command on a model of the user's own, files and folders included."""

import json
import re
import subprocess
import sys

import pytest
import torch

import torchgraft as tg

MODEL = "tiny_net:build"


def test_inspect(place, call):
    result = call("inspect", "tiny.pth")
    assert result.exit_code == 0
    assert "module.{0,3}.weight" in result.stdout
    data = json.loads(call("inspect", "tiny.pth", "--json").stdout)
    saved = torch.load("tiny.pth", weights_only=True)
    assert {t["name"]: t["shape"] for t in data["tensors"]} == {k: list(v.shape) for k, v in saved.items()}
    assert data["parts"][0]["tensors"] == len(saved)


def test_inspect_needs_no_pytorch(place):
    code = (
        "import sys\n"
        "from torchgraft.cli import commands\n"
        "try: commands(['inspect', 'tiny.pth'])\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_convert(place, call):
    result = call("convert", "tiny.pth", "-o", "new.safetensors")
    assert result.exit_code == 0, result.output
    assert re.fullmatch(r"new\.safetensors: 1 file, \d+\.\d KiB\n", result.stdout)
    saved = torch.load("tiny.pth", weights_only=True)
    found = tg.open("new.safetensors").state_dict()
    assert list(found) == list(saved)
    assert all(torch.equal(found[key], saved[key]) for key in saved)


def test_convert_into_shards_of_another_precision(place, call):
    result = call("convert", "tiny.pth", "-o", "out", "--shard-size", "1KB", "--dtype", "bfloat16", "--json")
    data = json.loads(result.stdout)
    assert data["saved"] == "out"
    assert data["files"] == {str(p): p.stat().st_size for p in (place / "out").relative_to(place).iterdir()}
    assert "out/model.safetensors.index.json" in data["files"]
    assert tg.open("out")["module.0.weight"].dtype == "bfloat16"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["tiny.pth", "-o", "x.pth", "--shard-size", "5q"], 2, "is no size"),
        (["tiny.pth", "-o", "x.pth", "--dtype", "int8"], 2, "'int8' is not one of"),
        (["tiny.pth", "-o", "x.onnx"], 8, "'.onnx' are not written"),
        (["tiny.pth", "-o", "x.pth", "--shard-size", "5GB"], 8, "several files need a folder"),
        (["absent.pth", "-o", "x.pth"], 3, "no such file"),
        (["tiny.pth", "-o", "x.pth", "--select", "ema"], 3, "has no part called 'ema'"),
    ],
)
def test_convert_refuses(arguments, code, message, place, call):
    before = sorted(place.iterdir())
    result = call("convert", *arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert sorted(place.iterdir()) == before


def test_convert_finds_damage_unless_told_not_to(place, call):
    data = bytearray((place / "tiny.pth").read_bytes())
    data[data.index(torch.load("tiny.pth")["module.0.weight"].numpy().tobytes()) + 5] ^= 1
    (place / "bad.pth").write_bytes(data)
    result = call("convert", "bad.pth", "-o", "new.pth")
    assert result.exit_code == 3
    assert "not what its checksum says" in result.stderr
    assert not (place / "new.pth").exists()
    assert call("convert", "bad.pth", "-o", "new.pth", "--no-verify").exit_code == 0
    assert call("diff", "tiny.pth", "new.pth", "--values").exit_code == 10


def test_diff_of_the_same(place, call):
    call("convert", "tiny.pth", "-o", "new.safetensors")
    for options in ([], ["--values"], ["--all"]):
        result = call("diff", "tiny.pth", "new.safetensors", *options)
        assert result.exit_code == 0, result.output
        assert "✓ no difference in names, shapes" in result.stdout
    data = json.loads(call("diff", "tiny.pth", "new.safetensors", "--json").stdout)
    assert data["equal"]
    assert data["values_compared"] is False


def test_diff_of_others(place, call):
    tensors = torch.load("tiny.pth", weights_only=True)
    tensors["module.0.weight"][0, 0, 0, 0] += 1
    del tensors["module.8.bias"]
    torch.save(tensors, "other.pth")
    result = call("diff", "tiny.pth", "other.pth", "--values")
    assert result.exit_code == 10
    assert "✗ 16 tensors: 14 same · 1 only in a · 1 values" in result.stdout
    assert "1 of 216 values, by up to 1" in result.stdout
    data = json.loads(call("diff", "tiny.pth", "other.pth", "--values", "--json").stdout)
    assert [t["name"] for t in data["tensors"] if t["differences"]] == ["module.0.weight", "module.8.bias"]


def test_inspect_shows_layouts_and_huge_names(place, call):
    import numpy as np

    np.savez("x.npz", **{"conv/kernel": np.ones((3, 3, 2, 4), np.float32)})
    assert "[3, 3, 2, 4]  HWIO" in call("inspect", "x.npz").stdout
    (tensor,) = json.loads(call("inspect", "x.npz", "--json").stdout)["tensors"]
    assert tensor["layout"] == "HWIO"
    torch.save({"x" * 100_000: torch.ones(2, 2)}, "long.pth")
    result = call("inspect", "long.pth")
    assert result.exit_code == 0
    assert len(result.stdout) < 2000
    (tensor,) = json.loads(call("inspect", "long.pth", "--json").stdout)["tensors"]
    assert tensor["name"] == "x" * 100_000


def test_plan_golden(place, call):
    result = call("plan", MODEL, "tiny.pth")
    assert result.exit_code == 0
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert lines[0] == "Sequential ← tiny.pth"
    assert "16 tensors: ✓ 16 loaded    checkpoint: 16 used, 0 unused" in lines
    assert lines[-1] == "✓ The gate is open: the plan can be applied."
    assert not (place / "plan.json").exists()


def test_plan_as_json_and_saved(place, call):
    result = call("plan", MODEL, "tiny.pth", "--json", "--save", "plan.json", "--html", "plan.html")
    data = json.loads(result.stdout)
    assert data["gate"]["open"]
    assert data["plan"]["counts"]["loaded"] == 16
    assert tg.Plan.from_json(data["plan"]).counts == tg.Plan.load("plan.json").counts
    assert "The gate is open" in (place / "plan.html").read_text("utf-8")


def test_plan_writes_a_script(place, call):
    result = call("plan", MODEL, "tiny.pth", "--python", "convert.py", "--quiet")
    assert result.exit_code == 0
    namespace: dict[str, object] = {}
    exec((place / "convert.py").read_text("utf-8"), namespace)
    saved = torch.load("tiny.pth", weights_only=True)
    made = namespace["convert"](saved)
    assert all(torch.equal(made[name.removeprefix("module.")], tensor) for name, tensor in saved.items())
    assert len(made) == len(saved)


def test_restore_gives_the_names_back(place, call):
    call("plan", MODEL, "tiny.pth", "--save", "plan.json")
    call("graft", MODEL, "tiny.pth", "-o", "out/")
    result = call("restore", "plan.json", "out", "-o", "back.pth", "--json")
    assert json.loads(result.stdout) == {"saved": "back.pth", "tensors": 16, "notes": []}
    saved, back = (torch.load(name, weights_only=True) for name in ("tiny.pth", "back.pth"))
    assert list(back) == list(saved)
    assert all(torch.equal(back[name], saved[name]) for name in saved)


def test_restore_says_what_it_leaves_out(place, call):
    call("plan", MODEL, "tiny.pth", "--num-classes", "3", "--save", "plan.json")
    call("graft", MODEL, "tiny.pth", "--num-classes", "3", "-o", "out/")
    result = call("restore", "plan.json", "out", "-o", "back.pth")
    assert result.exit_code == 0, result.stderr
    assert "note: left out: module.8.weight, module.8.bias (3 classes here" in result.stderr
    whole = call("restore", "plan.json", "out", "-o", "back.pth", "--base", "tiny.pth")
    assert "note: the checkpoint's own: module.8.weight, module.8.bias" in whole.stderr
    assert len(torch.load("back.pth", weights_only=True)) == 16


def test_layouts_are_said_by_name(place, call):
    weights = torch.load("tiny.pth", weights_only=True)
    weights["module.0.weight"] = weights["module.0.weight"].permute(2, 3, 1, 0).contiguous()
    torch.save(weights, "turned.pth")
    result = call(
        "graft", MODEL, "turned.pth", "--rename", "module.=", "--layout", "0.weight=HWIO", "-o", "out.pth"
    )
    assert result.exit_code == 0, result.stderr
    made = torch.load("out.pth", weights_only=True)
    assert torch.equal(made["0.weight"], torch.load("tiny.pth", weights_only=True)["module.0.weight"])
    assert call("plan", MODEL, "turned.pth", "--layout", "0.weight").exit_code == 2
    assert call("plan", MODEL, "turned.pth", "--layout", "nowhere=IO").exit_code == 4


def test_graft_gives_the_weights(place, call):
    result = call("graft", MODEL, "tiny.pth", "-o", "out/")
    assert result.exit_code == 0, result.stderr
    assert "saved in out" in result.stderr
    model = tg.load("out", builder=MODEL)
    saved = torch.load("tiny.pth", weights_only=True)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, saved[f"module.{name}"])


def test_graft_refuses_behind_a_closed_gate(place, call):
    half = {
        k: v for k, v in torch.load("tiny.pth", weights_only=True).items() if not k.startswith("module.3.")
    }
    torch.save(half, "half.pth")
    result = call("graft", MODEL, "half.pth", "-o", "out/", "--match", "exact")
    assert result.exit_code in (4, 5), result.stderr
    assert not (place / "out").exists()
    refused = call("plan", MODEL, "half.pth", "--rename", "module.=")
    assert refused.exit_code == 5, refused.output
    assert "The gate is closed" in refused.stdout
    allowed = call("plan", MODEL, "half.pth", "--rename", "module.=", "--allow-fresh", "3")
    assert allowed.exit_code == 0, allowed.output


def test_graft_into_other_channels_and_classes(place, call):
    result = call(
        "graft",
        MODEL,
        "tiny.pth",
        "-o",
        "x.safetensors",
        "--in-channels",
        "4",
        "--num-classes",
        "3",
        "--json",
    )
    data = json.loads(result.stdout)
    assert result.exit_code == 0
    assert data["plan"]["counts"] == {"loaded": 13, "adapted": 1, "fresh": 2, "used": 14, "unused": 2}
    assert tg.open(data["saved"])["0.weight"].shape == (8, 4, 3, 3)


def test_the_same_seed_gives_the_same_new_layers(place, call):
    for name in ("a", "b", "c"):
        seed = "7" if name == "c" else "3"
        assert (
            call(
                "graft", MODEL, "tiny.pth", "-o", f"{name}.safetensors", "--num-classes", "3", "--seed", seed
            ).exit_code
            == 0
        )
    a, b, c = (tg.open(f"{name}.safetensors")["8.weight"].read() for name in "abc")
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_adapt(place, call):
    call("graft", MODEL, "tiny.pth", "-o", "out/")
    (place / "classes.txt").write_text("cat\ndog\n")
    result = call(
        "adapt",
        "out",
        "--builder",
        MODEL,
        "--in-channels",
        "1",
        "--labels",
        "classes.txt",
        "-o",
        "small",
        "--json",
    )
    assert result.exit_code == 0, result.output
    model = tg.load("small", builder=MODEL)
    assert model(torch.zeros(1, 1, 16, 16)).shape == (1, 2)
    assert tg.info_of(model).labels == ("cat", "dog")


def test_adapt_with_a_class_map_modes_and_normalisation(place, call):
    call("graft", MODEL, "tiny.pth", "-o", "out/")
    old = tg.load("out", builder=MODEL).state_dict()
    (place / "map.json").write_text('{"both": [0, 1], "new": null}')
    to = '{"from": "imagenet", "to": [[0.485, 0.456, 0.406], 1]}'
    options = ["--class-map", "map.json", "--mode", "rows=mean", "--mode", "merged-rows=average"]
    result = call("adapt", "out", "--builder", MODEL, *options, "--normalisation", to, "-o", "new", "--json")
    assert result.exit_code == 0, result.output
    model = tg.load("new", builder=MODEL)
    assert tg.info_of(model).labels == ("both", "new")
    *_, (name, head), _ = model.state_dict().items()
    torch.testing.assert_close(head[0], old[name][:2].mean(0))
    torch.testing.assert_close(head[0], head[1])
    std = torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1)
    torch.testing.assert_close(model.state_dict()["0.weight"], old["0.weight"] / std)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--mode", "rows"], "is not KIND=VALUE"),
        (["--mode", "rows={"], "is not JSON"),
        (["--class-map", "none.json"], "can't be read"),
        (["--normalisation", "[0.5"], "is not JSON"),
    ],
)
def test_options_that_cant_be_read(options, message, place, call):
    result = call("adapt", MODEL, *options, "-o", "new", "--weights", "none")
    assert result.exit_code == 2
    assert message in result.output.replace("\n", " ")


@pytest.fixture
def run(place, photos, call):
    """A finished fine-tuning run."""
    result = call(
        "finetune", MODEL, "photos", "-o", "run", "--weights", "tiny.pth", "--epochs", "3", "--val", "0.25"
    )
    assert result.exit_code == 0, result.output
    return result


def test_finetune_shows_and_reports(run, place):
    assert "accuracy" in run.stdout
    assert "report: run/report.html" in run.stdout
    page = (place / "run" / "report.html").read_text("utf-8")
    assert "dark" in page
    assert "light" in page
    assert "\x1b" not in run.stderr  # no progress bar where there is no terminal


def test_evaluate_and_predict_a_run(run, place, photos, call):
    found = json.loads(call("evaluate", "run", "photos", "--builder", MODEL, "--json").stdout)
    assert found["count"] == 24
    assert sum(map(sum, found["confusion"])) == 24
    shown = call("evaluate", "run", "photos", "--builder", MODEL)
    assert "true ↓  predicted →" in shown.stdout
    predicted = call("predict", "run", "photos/dark/00.png", "photos/light", "--builder", MODEL, "--json")
    names = [one["name"] for one in json.loads(predicted.stdout)["predictions"]]
    assert names == ["photos/dark/00.png", *(f"photos/light/{i:02}.png" for i in range(12))]
    table = call("predict", "run", "photos/dark/00.png", "--builder", MODEL, "--top", "1")
    assert "photos/dark/00.png" in table.stdout
    assert "%" in table.stdout


def test_a_run_is_overwritten_only_when_asked(run, call):
    again = ("finetune", MODEL, "photos", "-o", "run", "--weights", "tiny.pth", "--epochs", "1")
    refused = call(*again)
    assert refused.exit_code == 8
    assert "--overwrite" in refused.stderr
    assert call(*again, "--overwrite").exit_code == 0


def test_finetune_as_json(place, photos, call):
    result = call("finetune", MODEL, "photos", "-o", "run", "--weights", "none", "--epochs", "1", "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    data = json.loads(result.stdout)
    assert data["classes"] == ["dark", "light"]
    assert data["report"] == "run/report.html"


def test_unreadable_photos_stop_or_are_named(run, place, call):
    (place / "photos" / "dark" / "broken.png").write_bytes(b"no image")
    stopped = call("evaluate", "run", "photos", "--builder", MODEL)
    assert stopped.exit_code == 7
    assert "broken.png" in stopped.stderr
    skipped = call("evaluate", "run", "photos", "--builder", MODEL, "--skip-unreadable")
    assert skipped.exit_code == 0
    assert "broken.png" in skipped.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["inspect", "absent.pth"], 3),
        (["inspect", "text.pth"], 3),
        (["plan", "tiny_net:nope", "tiny.pth"], 6),
        (["plan", "timm/resnet_eighteen", "tiny.pth"], 6),
        (["plan", MODEL, "other.pth"], 4),
        (["plan", MODEL, "tiny.pth", "--in-mode", "nonsense"], 6),
        (["plan", MODEL, "tiny.pth", "--labels", "absent.txt"], 7),
        (["graft", MODEL, "tiny.pth", "-o", "tiny_net.py/out"], 8),
        (["evaluate", MODEL, "absent", "--weights", "tiny.pth"], 7),
        (["finetune", MODEL, "empty", "-o", "run", "--weights", "tiny.pth"], 7),
    ],
)
def test_bad_input_has_its_exit_code_and_next_step(arguments, code, place, call):
    (place / "text.pth").write_text("this is no checkpoint, only some text in a file")
    (place / "empty").mkdir()
    torch.save({"embedding": torch.zeros(7, 11), "scale": torch.zeros(13)}, place / "other.pth")
    before = sorted(path.name for path in place.iterdir() if path.name != "__pycache__")
    result = call(*arguments)
    assert result.exit_code == code, result.output
    assert any(line.startswith("✗ ") for line in result.stderr.splitlines())
    assert "Traceback" not in result.output
    assert sorted(path.name for path in place.iterdir() if path.name != "__pycache__") == before
    assert json.loads(call(*arguments, "--json").stdout)["exit_code"] == code


def test_demo_passes_on_what_it_shows(call, monkeypatch, tmp_path):
    from rich.text import Text

    from torchgraft import demo
    from torchgraft.finetuning import Event

    def story(out, audience):
        audience.step("First")
        audience.show(Text("[red]shown[/]"))
        audience.progress(Event("epoch", 1, 2, epoch=1, train_loss=0.5, val={"accuracy": 0.75, "loss": 0.25}))
        return out / "report.html"

    monkeypatch.setattr(demo, "run", story)
    result = call("demo", "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert "1  First" in result.stdout
    assert "[red]shown[/]" in result.stdout
    assert "epoch   1/2  training loss 0.5000  validation:  accuracy 75.0 %  loss 0.2500" in result.stderr
    assert json.loads(call("demo", "--json", "-o", tmp_path).stdout) == {"report": f"{tmp_path}/report.html"}
