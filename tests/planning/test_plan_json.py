"""A plan as JSON: the same plan comes back, it does the same, and what is no plan is refused."""

from __future__ import annotations

import copy
import json

import pytest

import torchgraft as tg


@pytest.fixture
def varied(net):
    """A plan in which something is adapted by each op, fresh by declaration, unused, and noted."""
    state = net(1).state_dict()
    state["body.2.weight"] = state["body.2.weight"][..., 0, 0]
    state["extra"] = state.pop("body.0.bias")
    return tg.plan(
        net(classes=3, channels=4),
        state,
        match="exact",
        in_mode=[0, 1, 2, "mean"],
        source_labels=list("abcde"),
        labels=list("axe"),
        allow_fresh="body.0.bias",
        rename={"nowhere": "here"},
    )


def test_it_comes_back_the_same(varied):
    data = varied.to_json()
    back = tg.Plan.from_json(json.loads(json.dumps(data)))
    assert back == varied
    assert back.binding is None
    assert (str(back), back.summary) == (str(varied), varied.summary)
    assert {op["op"] for entry in data["targets"] for op in entry["ops"]} == {
        "input-channels",
        "pointwise",
        "rows",
    }
    assert (data["counts"], data["coverage"]) == (varied.counts, varied.coverage)


def test_saved_loaded_bound_applied_it_does_the_same(net, varied, tmp_path, assert_same_values):
    assert varied.binding is not None
    other = net(classes=3, channels=4)
    varied.save(tmp_path / "plan.json")
    loaded = tg.Plan.load(tmp_path / "plan.json")
    assert loaded == varied
    loaded.bind(other, varied.binding.checkpoint).apply()
    report = varied.apply()
    assert_same_values(other, report.model)
    assert loaded.binding is None  # frozen: bind gives another


def test_bind_takes_weights_as_plan_does(net, tmp_path, assert_same_values):
    import torch

    source = net(1)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    plan = tg.plan(net(), source)
    for weights in (source, source.state_dict(), tmp_path / "w.pth", tg.open(tmp_path / "w.pth")):
        model = net()
        plan.bind(model, weights).apply()
        assert_same_values(model, source)


def test_a_plan_that_the_gate_refuses_is_refused_when_it_comes_back(net):
    state = net(1).state_dict()
    del state["body.0.bias"]
    plan = tg.Plan.from_json(tg.plan(net(), state).to_json())
    with pytest.raises(tg.CoverageError, match=r"body\.0\.bias"):
        plan.bind(net(), state).apply()


def first(**fields):
    """Damages the first tensor's entry."""
    return lambda data: data["targets"][0].update(fields)


DAMAGE = [
    (lambda d: d.pop("torchgraft_plan"), "not a plan of version 2 or older"),
    (lambda d: d.update(torchgraft_plan=3), "'torchgraft_plan' is 3"),
    (lambda d: d.update(torchgraft_plan=True), "'torchgraft_plan' is True"),
    (lambda d: d.update(doubts=3), "damaged"),
    (lambda d: d.pop("model"), "damaged: 'model'"),
    (lambda d: d.update(targets=None), "damaged"),
    (lambda d: d.update(targets="abc"), "damaged"),
    (lambda d: d.update(targets=[3]), "damaged"),
    (lambda d: d.update(sources=[["name", "x"]]), "damaged"),
    (lambda d: d.update(notes=3), "damaged"),
    (lambda d: d["targets"][0].pop("name"), "damaged"),
    (lambda d: d["sources"][0].update(status="loaded"), "no status 'loaded'"),
    (first(status="perhaps"), "no status 'perhaps'"),
    (first(role="tail"), "no role 'tail'"),
    (first(source=None), "'stem.weight' is adapted from nowhere"),
    (first(name=["stem.weight"]), "'name' is ['stem.weight']"),
    (first(declared="no"), "'declared' is 'no'"),
    (first(shape="4433"), "'4433' is no shape"),
    (first(shape=[4, -1]), "[4, -1] is no shape"),
    (first(source_shape=7), "7 is no shape"),
    (first(ops=None), "damaged"),
    (first(ops=["rows"]), "damaged"),
    (first(ops=[{"op": "run-code"}]), "there is no op 'run-code'"),
    (first(ops=[{"op": "rows"}]), "op 'rows' can't be read"),
    (first(ops=[{"op": "rows", "rows": [9], "source_rows": 3}]), "no classifier row 9"),
    (first(surprise=1), "surprise"),
]


@pytest.mark.parametrize(("damage", "what"), DAMAGE, ids=[str(i) for i in range(len(DAMAGE))])
def test_what_is_damaged_is_refused(varied, tmp_path, damage, what):
    data = copy.deepcopy(varied.to_json())
    damage(data)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(data))
    with pytest.raises(tg.TorchgraftError) as caught:
        tg.Plan.load(path)
    assert what in caught.value.what
    assert caught.value.where == str(path)
    assert caught.value.hint


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"3", b'"plan"', b"null", b"{}", b"\xff\xfe\x00", b"[" * 200_000]
)
def test_what_is_no_plan_is_refused(tmp_path, content):
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    with pytest.raises(tg.TorchgraftError, match="plan") as caught:
        tg.Plan.load(path)
    assert caught.value.where == str(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(tg.TorchgraftError, match="can't be read as a plan") as caught:
        tg.Plan.load(tmp_path / "none.json")
    assert caught.value.where == str(tmp_path / "none.json")


def test_the_file_is_for_people_too(net, tmp_path):
    plan = tg.plan(net(), {f"schön.{key}": value for key, value in net(1).state_dict().items()})
    plan.save(tmp_path / "plan.json")
    text = (tmp_path / "plan.json").read_text(encoding="utf-8")
    assert "schön.stem.weight" in text
    assert text.endswith("}\n")
    assert len(text.splitlines()) > 100
