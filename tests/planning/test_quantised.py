"""Plans for quantised checkpoints: weights arrive as what they stand for, and the plan says how."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import torchgraft as tg
from checkpoint.quantisers import CONVENTIONS, bitsandbytes, comfy, deepseek, per_row
from torchgraft.planning.quantised import as_planned


class Small(nn.Module):
    """Two layers, of which one is quantised."""

    def __init__(self, rows: int = 140, columns: int = 200) -> None:
        super().__init__()
        self.layer = nn.Linear(columns, rows)
        self.norm = nn.LayerNorm(rows)
        self.head = nn.Linear(rows, 3)

    def forward(self, x):
        return self.head(self.norm(self.layer(x)))


@pytest.fixture
def float_model():
    torch.manual_seed(0)
    return Small()


def quantised(model, quantise):
    """The model's state dict, with the first layer quantised."""
    state = model.state_dict()
    made = quantise(state.pop("layer.weight"))
    return {**made, **state}


@pytest.mark.parametrize("convention", CONVENTIONS, ids=[c.name for c in CONVENTIONS])
@pytest.mark.parametrize("kind", ["dict", "file"])
def test_each_convention(convention, kind, float_model, tmp_path):
    weights = state = quantised(float_model, convention.quantise)
    if kind == "file":
        save_file(
            {k: v.clone() if v.dim() else v.reshape(()) for k, v in state.items()}, tmp_path / "x.safetensors"
        )
        weights = tmp_path / "x.safetensors"
    model = Small()
    plan = tg.plan(model, weights)
    assert plan.counts == {"loaded": 6, "adapted": 0, "fresh": 0, "used": plan.counts["used"],
                           "unused": plan.counts["unused"]}  # fmt: skip
    assert "dequantised: " in next(iter(plan)).why
    assert len(plan.sources) == len(state)
    for entry in plan.sources:
        if entry.name.rpartition(".")[2] in ("input_scale", "scaled_fp8"):
            assert (entry.status, entry.why.split(",")[0]) == ("unused", "belongs to quantised activations")
        else:
            assert entry.status == "used"
            if entry.name.startswith("layer.") and entry.name not in ("layer.weight", "layer.bias"):
                assert entry.why == "scales layer.weight"
    expected = convention.values(state)
    plan.apply()
    assert torch.equal(model.layer.weight, expected)
    assert torch.equal(model.layer.bias, float_model.layer.bias)

    again = tg.Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again == plan
    other = Small().to(torch.bfloat16)
    again.bind(other, weights).apply()
    assert torch.equal(other.layer.weight, expected.bfloat16())

    names: dict = {}
    exec(plan.python(), names)
    made = names["convert"](state)
    assert {key: value.dtype for key, value in made.items()} == dict.fromkeys(made, torch.float32)
    assert all(torch.equal(made[key], value) for key, value in model.state_dict().items())


def test_what_it_says(float_model):
    plan = tg.plan(Small(), quantised(float_model, deepseek))
    (first, *_), sources = plan.targets, {entry.name: entry for entry in plan.sources}
    assert first.why == "same name; dequantised: float8_e4m3fn * weight_scale_inv, blocks of 128x128"
    assert (first.status, first.source_dtype) == ("loaded", "float8_e4m3fn")
    assert sources["layer.weight"].dtype == "float8_e4m3fn"
    assert "1 weight is dequantised in float32 when it is read" in plan.notes
    script = plan.python()
    assert "repeat_interleave(128, 0).repeat_interleave(128, 1)[:140, :200]" in script


def test_fused_and_renamed_and_adapted():
    """Quantised q, k, v into one projection; a quantised head by labels; under other names."""
    torch.manual_seed(0)

    class Apart(nn.Module):
        def __init__(self):
            super().__init__()
            self.attn = nn.ModuleDict({n: nn.Linear(32, 32) for n in ("q_proj", "k_proj", "v_proj")})
            self.head = nn.Linear(32, 5)

    class Fused(nn.Module):
        def __init__(self):
            super().__init__()
            self.attn = nn.ModuleDict({"qkv": nn.Linear(32, 96)})
            self.head = nn.Linear(32, 2)

        def forward(self, x):
            return self.head(sum(self.attn["qkv"](x).chunk(3, -1)))

    state = {}
    for key, value in Apart().state_dict().items():
        if key.endswith("weight"):
            layer = key.removesuffix("weight")
            state |= {layer + n.removeprefix("layer."): t for n, t in per_row(value, torch.int8).items()}
        else:
            state[key] = value
    model = Fused()
    plan = tg.plan(
        model, state, source_labels=list("abcde"), labels=list("ec"), head="head", example=torch.zeros(1, 32)
    )
    plan.apply()
    real = {
        name: state[f"{name}.weight"].float() * state[f"{name}.weight_scale"].float()
        for name in ("attn.q_proj", "attn.k_proj", "attn.v_proj", "head")
    }
    assert torch.equal(model.attn["qkv"].weight, torch.cat(list(real.values())[:3]))
    assert torch.equal(model.head.weight, real["head"][[4, 2]])
    names: dict = {}
    exec(plan.python(), names)
    made = names["convert"](state)
    assert all(torch.equal(made[key], value) for key, value in model.state_dict().items())
    plan.set("head", fresh=True)
    unused = {entry.name for entry in plan.sources if entry.status == "unused"}
    assert unused == {"head.weight", "head.weight_scale", "head.bias"}


def test_float8_without_scales_is_taken_as_it_is(float_model):
    state = {key: value.to(torch.float8_e4m3fn) for key, value in float_model.state_dict().items()}
    model = Small()
    plan = tg.plan(model, state)
    assert plan.notes[0].startswith("no scales stand beside 6 float8 tensors, such as layer.weight")
    plan.apply()
    assert all(torch.equal(value, state[key].float()) for key, value in model.state_dict().items())


def test_int8_without_scales_is_refused(float_model):
    state = quantised(float_model, bitsandbytes)
    del state["layer.SCB"]
    plan = tg.plan(Small(), state)
    (refused,) = plan.undeclared
    assert refused.why == (
        "int8 there, float32 here: not the same kind of number, and no scales stand beside it"
    )


WORDS, BYTES, HALF, FLOAT = torch.int32, torch.uint8, torch.float16, torch.float32
PACKED = [
    ({"l.qweight": WORDS, "l.qzeros": WORDS, "l.scales": HALF, "l.g_idx": WORDS}, "GPTQ"),
    ({"l.qweight": WORDS, "l.qzeros": WORDS, "l.scales": HALF}, "AWQ"),
    ({"l.weight_packed": WORDS, "l.weight_scale": HALF}, "compressed-tensors"),
    ({"l.weight": BYTES, "l.weight.absmax": FLOAT, "l.weight.quant_map": FLOAT}, "bitsandbytes"),
    ({"l.weight": BYTES, "l.weight_scale": BYTES, "l.weight_scale_2": FLOAT}, "NVFP4"),
    ({"e.up_blocks": BYTES, "e.up_scales": BYTES}, "MXFP4"),
    ({"l.weight": torch.int8, "l.weight_scale_inv": FLOAT}, "MXFP4"),
    ({"l.W_q": BYTES, "l.scale": HALF, "l.zero": HALF}, "HQQ"),
]


@pytest.mark.parametrize(("tensors", "scheme"), PACKED, ids=[scheme for _, scheme in PACKED])
def test_packed_weights_are_refused_by_name(tensors, scheme, float_model):
    state = {name: torch.zeros(4, 4, dtype=dtype) for name, dtype in tensors.items()}
    with pytest.raises(tg.CheckpointError, match=scheme) as caught:
        tg.plan(float_model, {**state, **float_model.state_dict()})
    assert "dequantise it with the library that wrote it" in str(caught.value)


def test_a_model_that_is_quantised_itself_takes_the_numbers():
    class Quantised(nn.Module):
        def __init__(self, dtype):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(4, 4).to(dtype), requires_grad=False)
            self.weight_scale = nn.Parameter(torch.zeros(4, 1))

    for dtype in (torch.int8, torch.float8_e4m3fn):
        state = {
            name.removeprefix("layer."): t.float() if t.dtype == torch.bfloat16 else t
            for name, t in per_row(torch.rand(4, 4), dtype).items()
        }
        model = Quantised(dtype)
        assert tg.graft(model, state).plan.counts["loaded"] == 2
        assert torch.equal(model.weight.float(), state["weight"].float())
        assert torch.equal(model.weight_scale, state["weight_scale"])


@pytest.mark.parametrize("quantise", [deepseek, bitsandbytes, comfy])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_restoring(quantise, dtype, float_model):
    """What was not trained goes back as the file has it; what was can't."""
    state = quantised(float_model, quantise)
    model = Small().to(dtype)
    plan = tg.plan(model, state)
    plan.apply()
    back = plan.restore(model)
    assert list(back) == list(state)
    for key, value in state.items():
        assert back[key].dtype == value.dtype
        assert torch.equal(back[key].float(), value.float())
    with torch.no_grad():
        model.layer.weight[0, 0] += 1
    back = plan.restore(model)
    gone = {"layer.weight", *next(e.scaling for e in plan.sources if e.name == "layer.weight").keys}
    assert set(state) - set(back) == gone
    assert any("is not quantised again" in note for note in back.notes)
    unbound = tg.Plan.from_json(plan.to_json()).restore(model)
    assert "layer.weight" not in unbound
    assert any("has to be given to see whether it has changed" in note for note in unbound.notes)


def test_another_checkpoint_is_refused(float_model):
    state = quantised(float_model, deepseek)
    plan = tg.Plan.from_json(tg.plan(Small(), state).to_json())
    for other, words in (
        (float_model.state_dict(), r"layer.weight: is float32 \[140, 200\] there, and the plan dequantises"),
        (
            {k: v for k, v in state.items() if not k.endswith("inv")},
            "weight_scale_inv: is not in the checkpoint",
        ),
        ({**state, "layer.weight_scale_inv": torch.ones(3, 3)}, r"is float32 \[3, 3\] there"),
    ):
        model = Small()
        before = model.layer.weight.clone()
        with pytest.raises(tg.CheckpointError, match=words):
            plan.bind(model, other).apply()
        assert torch.equal(model.layer.weight, before)


def test_an_older_plan_without_scalings_reads_as_stored(float_model):
    data = tg.plan(Small(), float_model.state_dict()).to_json()
    assert all("scaling" not in entry for entry in data["sources"])
    checkpoint = tg.Checkpoint.from_state_dict(float_model.state_dict())
    assert as_planned(tg.Plan.from_json(data).sources, checkpoint) is checkpoint


def test_damaged_scalings_are_refused(float_model):
    data = tg.plan(Small(), quantised(float_model, deepseek)).to_json()
    for damage in ({"block": ["x"]}, {"scale": 3}, {}):
        data["sources"][0]["scaling"] = damage
        with pytest.raises(tg.TorchgraftError, match="the plan is damaged"):
            tg.Plan.from_json(data)
