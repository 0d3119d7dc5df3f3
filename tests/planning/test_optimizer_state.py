"""Training goes on where it stopped: the same model under other names, a larger one, another head."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import torchgraft as tg

GENTLE = {"momentum": 0.9, "lr": 0.02, "weight_decay": 1e-3}
OPTIMIZERS = {
    "adam": (torch.optim.Adam, {"lr": 0.01}),
    "adamw-amsgrad": (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1, "amsgrad": True}),
    "sgd": (torch.optim.SGD, GENTLE),
    "sgd-nesterov": (torch.optim.SGD, {**GENTLE, "nesterov": True}),
    "rmsprop": (torch.optim.RMSprop, {"lr": 0.003, "centered": True, "momentum": 0.5}),
    "adagrad": (torch.optim.Adagrad, {"lr": 0.01}),
    "adamax": (torch.optim.Adamax, {"lr": 0.01}),
    "nadam": (torch.optim.NAdam, {"lr": 0.01}),
    "radam": (torch.optim.RAdam, {"lr": 0.01}),
    "adadelta": (torch.optim.Adadelta, {"lr": 0.5}),
    "rprop": (torch.optim.Rprop, {"lr": 0.001}),
    "asgd": (torch.optim.ASGD, {"lr": 0.01}),
}


def pixels(x: torch.Tensor) -> torch.Tensor:
    """A map as nine tokens, whatever its size."""
    return nn.functional.adaptive_avg_pool2d(x.relu(), 3).flatten(2).transpose(1, 2)


class Old(nn.Module):
    """A convolution, a batch norm, q, k and v apart, a head."""

    def __init__(self, channels: int = 3, classes: int = 5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 8, 3, stride=2)
        self.bn = nn.BatchNorm2d(8)
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))
        self.fc = nn.Linear(8, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = pixels(self.bn(self.conv(x)))
        weights = (self.query(x) @ self.key(x).transpose(1, 2)).softmax(-1)
        return self.fc((weights @ self.value(x)).mean(1))


class New(nn.Module):
    """The same under other names, q, k and v in one."""

    def __init__(self, channels: int = 3, classes: int = 5) -> None:
        super().__init__()
        self.head = nn.Linear(8, classes)
        self.qkv = nn.Linear(8, 24)
        self.stem = nn.Sequential(nn.Conv2d(channels, 8, 3, stride=2), nn.BatchNorm2d(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = pixels(self.stem(x))
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.head(((q @ k.transpose(1, 2)).softmax(-1) @ v).mean(1))


RENAMES = {
    "conv.": "stem.0.", "bn.": "stem.1.", "fc.": "head.", "query.": "q_proj.", "key.": "k_proj.",
    "value.": "v_proj.",
}  # fmt: skip


EXAMPLE = torch.zeros(2, 3, 9, 9)


def batch(step: int, channels: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """The images of a training step; a further channel is black."""
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(8, 3, 9, 9, generator=generator)
    labels = torch.randint(0, 5, (8,), generator=generator)
    more = torch.zeros(8, channels - 3, 9, 9)
    return torch.cat([images, more], dim=1), labels


def train(model, optimizer, steps, channels=3, loss=nn.functional.cross_entropy):
    """The losses of some steps."""
    losses = []
    for step in steps:
        images, labels = batch(step, channels)
        value = loss(model.train()(images), labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses


def make(kind, model, **changed):
    cls, arguments = OPTIMIZERS[kind]
    return cls(model.parameters(), **{**arguments, **changed})


@pytest.fixture
def trained():
    """A model and its optimizer after some steps."""

    def build(kind, steps=12, model=Old):
        torch.manual_seed(0)
        net = model()
        optimizer = make(kind, net)
        train(net, optimizer, range(steps))
        return net, optimizer

    return build


def resumed(plan, optimizer, state=None, **arguments):
    plan.apply()
    carried = plan.optimizer_state(optimizer, state, **arguments)
    optimizer.load_state_dict(carried.state_dict)
    return carried


class Renamed(nn.Module):
    """`Old` in another order and under other names, nothing fused."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 5)
        self.v_proj, self.k_proj, self.q_proj = (nn.Linear(8, 8) for _ in range(3))
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = pixels(self.stem(x))
        weights = (self.q_proj(x) @ self.k_proj(x).transpose(1, 2)).softmax(-1)
        return self.head((weights @ self.v_proj(x)).mean(1))


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_under_other_names_training_goes_on_bit_for_bit(kind, trained):
    old, optimizer = trained(kind)
    model = Renamed()
    plan = tg.plan(model, old.state_dict(), rename=RENAMES)
    new = make(kind, model)
    carried = resumed(plan, new, optimizer.state_dict())
    assert (len(carried.carried), carried.fresh) == (len(list(model.parameters())), {})
    assert train(model, new, range(12, 30)) == train(old, optimizer, range(12, 30))
    back = plan.restore(model)
    assert all(torch.equal(back[key], value) for key, value in old.state_dict().items())


@pytest.mark.parametrize("kind", ["adam", "sgd", "adagrad", "rmsprop"])
def test_fused_layers_go_on(kind, trained):
    """A fused product may round in another way than three do; the first losses are the same."""
    old, optimizer = trained(kind)
    model = New()
    plan = tg.plan(model, old.state_dict(), rename=RENAMES)
    new = make(kind, model)
    resumed(plan, new, optimizer.state_dict())
    ours, theirs = train(model, new, range(12, 24)), train(old, optimizer, range(12, 24))
    assert ours == pytest.approx(theirs, abs=1e-5)
    anew = New()
    tg.graft(anew, old.state_dict())
    assert train(anew, make(kind, anew), range(12, 24)) != pytest.approx(theirs, abs=1e-3)


@pytest.mark.parametrize("kind", ["adam", "adamw-amsgrad", "sgd", "sgd-nesterov", "rmsprop"])
def test_a_grown_model_goes_on_as_the_old_one(kind, trained):
    """A fourth channel that is black, its weights 0: the same losses, and the old part's weights the same."""
    old, optimizer = trained(kind)
    model = Old(channels=4)
    new = make(kind, model)
    resumed(tg.plan(model, old.state_dict(), in_mode="zeros", stem="conv"), new, optimizer.state_dict())
    ours, theirs = train(model, new, range(12, 40), channels=4), train(old, optimizer, range(12, 40))
    assert ours == pytest.approx(theirs, abs=1e-6)
    assert torch.allclose(model.conv.weight[:, :3], old.conv.weight, atol=1e-6)
    assert not model.conv.weight[:, 3].any()


def moments(optimizer, parameter):
    return optimizer.state[parameter]


def test_moments_of_channels_by_mode(trained):
    """Each new channel gets the average of what was kept of the channels that it is made of; no factor."""
    old, optimizer = trained("adam")
    kept = moments(optimizer, old.conv.weight)
    for mode, channels, made_of in (
        ("repeat", 5, [[0], [1], [2], [0], [1]]),
        ("repeat", 1, [[0, 1, 2]]),
        ("sum", 2, [[0, 1, 2]] * 2),
        ("mean", 4, [[0], [1], [2], [0, 1, 2]]),
        ("zeros", 4, [[0], [1], [2], []]),
        ("keep-scale", 5, [[0], [1], [2], [0, 1, 2], [0, 1, 2]]),
        ("keep-scale", 2, [[0, 1, 2]] * 2),
        ([2, "zeros", "mean"], 3, [[2], [], [0, 1, 2]]),
        ([0, (0, 0.5, -0.5)], 2, [[0], [1, 2]]),
    ):
        model = Old(channels=channels)
        new = make("adam", model)
        resumed(tg.plan(model, old.state_dict(), in_mode=mode, stem="conv"), new, optimizer.state_dict())
        got = moments(new, model.conv.weight)
        assert got["step"] == kept["step"] == 12
        for name in ("exp_avg", "exp_avg_sq"):
            for place, sources in enumerate(made_of):
                if sources:
                    expected = sum(kept[name][:, n] for n in sources) / len(sources)
                elif name == "exp_avg":
                    expected = torch.zeros(8, 3, 3)
                else:
                    rest = [i for i, channel in enumerate(made_of) if channel]
                    expected = got[name][:, rest].mean().expand(8, 3, 3)
                assert torch.allclose(got[name][:, place], expected, rtol=1e-6, atol=0), (mode, name, place)


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_rows_carried_by_label_keep_theirs(kind, trained):
    old, optimizer = trained(kind)
    model = Old(classes=3)
    plan = tg.plan(model, old.state_dict(), source_labels=[*"abcde"], labels=[*"exb"], example=EXAMPLE)
    new = make(kind, model)
    carried = resumed(plan, new, optimizer.state_dict())
    assert carried.fresh == {}
    for theirs, ours in ((old.fc.weight, model.fc.weight), (old.fc.bias, model.fc.bias)):
        for name, value in moments(optimizer, theirs).items():
            got = moments(new, ours)[name]
            if name == "step":
                assert got == value
                continue
            assert torch.equal(got[[0, 2]], value[[4, 1]])
            filling = got[[0, 2]].mean() if name == "exp_avg_sq" else torch.zeros(())
            assert torch.allclose(got[1], filling.expand_as(got[1]), rtol=1e-6, atol=0)


@pytest.mark.parametrize("mode", ["model", "mean", "mean-cov", "zeros"])
def test_merged_rows_get_the_mean_and_new_ones_nothing(mode, trained):
    """Whatever the weights of new classes are drawn from."""
    old, optimizer = trained("adam")
    model = Old(classes=3)
    plan = tg.plan(
        model, old.state_dict(), class_map=[(0, 3), None, 2], modes={"rows": mode}, example=EXAMPLE
    )
    new = make("adam", model)
    resumed(plan, new, optimizer.state_dict())
    for theirs, ours in ((old.fc.weight, model.fc.weight), (old.fc.bias, model.fc.bias)):
        for name in ("exp_avg", "exp_avg_sq"):
            value, got = moments(optimizer, theirs)[name], moments(new, ours)[name]
            assert torch.allclose(got[0], value[[0, 3]].mean(0), rtol=1e-6, atol=0)
            assert torch.allclose(got[2], value[2], rtol=1e-6, atol=0)
            filling = got[[0, 2]].mean() if name == "exp_avg_sq" else torch.zeros(())
            assert torch.allclose(got[1], filling.expand_as(got[1]), rtol=1e-6, atol=0)


def test_a_larger_vocabulary_keeps_its_tokens():
    class Tokens(nn.Module):
        def __init__(self, tokens):
            super().__init__()
            self.table, self.head = nn.Embedding(tokens, 4), nn.Linear(4, tokens, bias=False)
            self.head.weight = self.table.weight

        def forward(self, x):
            return self.head(self.table(x))

    old, model = Tokens(10), Tokens(12)
    optimizer, new = torch.optim.Adam(old.parameters()), torch.optim.Adam(model.parameters())
    old(torch.arange(10)[None]).square().sum().backward()
    optimizer.step()
    plan = tg.plan(model, old.state_dict())
    carried = resumed(plan, new, optimizer.state_dict())
    assert carried.carried == ("table.weight",)
    theirs, ours = moments(optimizer, old.table.weight), moments(new, model.table.weight)
    assert torch.equal(ours["exp_avg"][:10], theirs["exp_avg"])
    assert not ours["exp_avg"][10:].any()
    assert torch.allclose(ours["exp_avg_sq"][10:], theirs["exp_avg_sq"].mean().expand(2, 4))


def test_a_fresh_head_has_no_past(trained):
    old, optimizer = trained("adam")
    model = Old(classes=2)
    new = make("adam", model)
    carried = resumed(tg.plan(model, old.state_dict()), new, optimizer.state_dict())
    assert set(carried.fresh) == {"fc.weight", "fc.bias"}
    first, second, _ = str(carried).splitlines()
    paired = "paired in the checkpoint's order, which all shapes agree with"
    assert first == f"10 of 12 parameters go on where they stopped, {paired}"
    assert second.startswith("  anew: fc.weight: its weight is new: 2 classes here")
    assert model.fc.weight not in new.state
    train(model, new, range(1), loss=lambda out, _: out.square().mean())
    assert moments(new, model.fc.weight)["step"] == 1
    assert moments(new, model.conv.weight)["step"] == 13


def test_nothing_is_shared_with_the_old_optimizer(trained):
    old, optimizer = trained("sgd")
    model = Old()
    new = make("sgd", model)
    resumed(tg.plan(model, old.state_dict()), new, optimizer.state_dict())
    before = optimizer.state[old.conv.weight]["momentum_buffer"].clone()
    train(model, new, range(3))
    assert torch.equal(optimizer.state[old.conv.weight]["momentum_buffer"], before)


class TestWhichParameterIsWhich:
    """A state dict knows parameters by number."""

    def test_by_the_names_that_it_holds(self, trained):
        """In groups of any order, as layer-wise learning rates make them."""
        torch.manual_seed(0)
        old = Old()
        groups = [
            {"params": [(n, p) for n, p in old.named_parameters() if p.dim() == d], "weight_decay": d / 100}
            for d in (1, 4, 2)
        ]
        optimizer = torch.optim.AdamW(groups)
        train(old, optimizer, range(3))
        model = Renamed()
        new = torch.optim.AdamW(model.parameters())
        plan = tg.plan(model, old.state_dict(), rename=RENAMES)
        carried = resumed(plan, new, optimizer.state_dict(), settings="optimizer")
        assert carried.how == "by name"
        for name in ("exp_avg", "exp_avg_sq"):
            theirs = moments(optimizer, old.query.weight)[name]
            assert torch.equal(moments(new, model.q_proj.weight)[name], theirs)

    def test_groups_without_names_are_refused(self, trained):
        old = Old()
        optimizer = torch.optim.Adam([{"params": [p]} for p in reversed(list(old.parameters()))])
        train(old, optimizer, range(1))
        model = Old()
        plan = tg.plan(model, old.state_dict())
        new = make("adam", model)
        with pytest.raises(tg.ModelError, match="in 12 groups, without names") as caught:
            plan.optimizer_state(new, optimizer.state_dict())
        assert "param_names=[name for name, _ in old_model.named_parameters()]" in str(caught.value)
        names = [name for name, _ in old.named_parameters()][::-1]
        resumed(plan, new, optimizer.state_dict(), param_names=names, settings="optimizer")
        assert torch.equal(
            moments(new, model.key.weight)["exp_avg"], moments(optimizer, old.key.weight)["exp_avg"]
        )

    def test_another_order_is_seen_by_shapes(self):
        old = Old()
        optimizer = torch.optim.Adam(list(old.parameters())[::-1])
        train(old, optimizer, range(1))
        model = Old()
        plan = tg.plan(model, old.state_dict())
        with pytest.raises(tg.ModelError, match="parameter 0 has shape"):
            plan.optimizer_state(make("adam", model), optimizer.state_dict())

    def test_a_part_of_the_parameters_is_refused(self):
        old = Old()
        optimizer = torch.optim.Adam(old.fc.parameters())
        train(old, optimizer, range(1))
        plan = tg.plan(Old(), old.state_dict())
        new = make("adam", plan.binding.model)
        with pytest.raises(tg.ModelError, match="has 2 parameters, the checkpoint 12"):
            plan.optimizer_state(new, optimizer.state_dict())
        with pytest.raises(tg.ModelError, match="has 2 parameters, param_names has 1"):
            plan.optimizer_state(new, optimizer.state_dict(), param_names=["fc.weight"])
        carried = resumed(plan, new, optimizer.state_dict(), param_names=["fc.weight", "fc.bias"])
        assert carried.carried == ("fc.weight", "fc.bias")
        assert set(carried.fresh.values()) == {"the old optimizer kept nothing of it"}

    @pytest.mark.parametrize("prefix", ["module.", "model.net."])
    @pytest.mark.parametrize("which", ["state", "weights"])
    def test_a_prefix_more_or_less(self, prefix, which, trained):
        old = Old()
        optimizer = torch.optim.SGD(old.named_parameters(), lr=0.1, momentum=0.9)
        train(old, optimizer, range(2))
        state, weights = optimizer.state_dict(), old.state_dict()
        if which == "weights":
            weights = {prefix + key: value for key, value in weights.items()}
        else:
            (group,) = state["param_groups"]
            group["param_names"] = [prefix + name for name in group["param_names"]]
        model = Old()
        new = make("sgd", model)
        resumed(tg.plan(model, weights), new, state)
        assert torch.equal(
            moments(new, model.fc.bias)["momentum_buffer"], moments(optimizer, old.fc.bias)["momentum_buffer"]
        )

    def test_names_that_are_not_there(self, trained):
        old, optimizer = trained("sgd", 1)
        plan = tg.plan(Old(), old.state_dict())
        with pytest.raises(tg.ModelError, match=r"none of the optimizer's parameters \(a, a, a, …\)"):
            plan.optimizer_state(
                make("sgd", plan.binding.model), optimizer.state_dict(), param_names=["a"] * 12
            )
        names = [name for name, _ in old.named_parameters()][::-1]
        with pytest.raises(tg.ModelError, match=r"keeps 'momentum_buffer', float32 \[8, 3, 3, 3\]"):
            plan.optimizer_state(make("sgd", plan.binding.model), optimizer.state_dict(), param_names=names)

    def test_tied_ones_have_one_number(self):
        class Tied(nn.Module):
            def __init__(self):
                super().__init__()
                self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
                self.b.weight = self.a.weight

            def forward(self, x):
                return self.c(self.b(self.a(x)))

        old = Tied()
        optimizer = torch.optim.Adam(old.parameters())
        old(torch.randn(3, 4)).sum().backward()
        optimizer.step()
        model = Tied()
        new = torch.optim.Adam(model.parameters())
        resumed(tg.plan(model, old.state_dict()), new, optimizer.state_dict())
        for one, other in zip(old.parameters(), model.parameters(), strict=True):
            assert torch.equal(optimizer.state[one]["exp_avg"], new.state[other]["exp_avg"])


class TestWhereItIs:
    def test_in_the_checkpoints_own_file(self, trained, tmp_path):
        old, optimizer = trained("adam")
        saved = {"epoch": 3, "model": old.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(saved, tmp_path / "last.pth")
        model = Renamed()
        plan = tg.plan(model, tmp_path / "last.pth", rename=RENAMES)
        new = make("adam", model)
        resumed(plan, new)
        assert train(model, new, range(12, 20)) == train(old, optimizer, range(12, 20))

    def test_in_a_file_of_its_own(self, trained, tmp_path):
        old, optimizer = trained("adam", 2)
        torch.save(old.state_dict(), tmp_path / "model.pth")
        torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
        model = Old()
        plan = tg.plan(model, tmp_path / "model.pth")
        new = make("adam", model)
        with pytest.raises(tg.CheckpointError, match="holds no state of an optimizer"):
            plan.optimizer_state(new)
        resumed(plan, new, tmp_path / "optimizer.pt")
        assert train(model, new, range(3)) == train(old, optimizer, range(3))

    def test_one_of_several(self, trained, tmp_path):
        old, optimizer = trained("adam", 2)
        other = make("sgd", Old())
        saved = {
            "state_dict": old.state_dict(),
            "optimizer_states": [other.state_dict(), optimizer.state_dict()],
        }
        torch.save(saved, tmp_path / "last.ckpt")
        model = Old()
        plan = tg.plan(model, tmp_path / "last.ckpt")
        new = make("adam", model)
        with pytest.raises(tg.CheckpointError, match="the states of 2 optimizers") as caught:
            plan.optimizer_state(new)
        assert "optimizer_states.0, optimizer_states.1" in str(caught.value)
        resumed(plan, new, "optimizer_states.1")
        assert train(model, new, range(3)) == train(old, optimizer, range(3))

    def test_by_names_as_distributed_checkpoints_have_it(self, trained):
        old, optimizer = trained("adam", 2)
        names = {number: name for number, (name, _) in enumerate(old.named_parameters())}
        state = optimizer.state_dict()
        state["state"] = {names[number]: kept for number, kept in state["state"].items()}
        state["param_groups"][0]["params"] = list(names.values())[::-1]
        model = Old()
        new = make("adam", model)
        resumed(tg.plan(model, old.state_dict()), new, state)
        assert train(model, new, range(3)) == train(old, optimizer, range(3))


class TestSettings:
    def test_the_checkpoints_or_the_optimizers(self, trained):
        old, optimizer = trained("sgd", 2)
        optimizer.param_groups[0]["lr"] = 0.5
        model = Old()
        plan = tg.plan(model, old.state_dict())
        new = make("sgd", model, lr=0.25, foreach=False)
        resumed(plan, new, optimizer.state_dict(), settings="optimizer")
        assert new.param_groups[0]["lr"] == 0.25
        resumed(plan, new, optimizer.state_dict())
        assert (new.param_groups[0]["lr"], new.param_groups[0]["foreach"]) == (0.5, False)
        with pytest.raises(tg.ModelError, match="settings='mine'"):
            plan.optimizer_state(new, optimizer.state_dict(), settings="mine")

    def test_other_groups(self, trained):
        old, optimizer = trained("adam", 2)
        model = Old()
        plan = tg.plan(model, old.state_dict())
        rest = [p for n, p in model.named_parameters() if not n.startswith("fc")]
        new = torch.optim.Adam([{"params": model.fc.parameters(), "lr": 0.1}, {"params": rest}], lr=0.01)
        with pytest.raises(tg.ModelError, match="has 1 groups of parameters, the new one 2"):
            plan.optimizer_state(new, optimizer.state_dict())
        resumed(plan, new, optimizer.state_dict(), settings="optimizer")
        assert [group["lr"] for group in new.param_groups] == [0.1, 0.01]
        theirs = moments(optimizer, old.conv.bias)["exp_avg"]
        assert torch.equal(moments(new, model.conv.bias)["exp_avg"], theirs)

    def test_another_optimizers_state(self, trained):
        old, optimizer = trained("adam", 2)
        plan = tg.plan(Old(), old.state_dict())
        with pytest.raises(tg.ModelError, match=r"another optimizer's: its settings are betas"):
            plan.optimizer_state(make("sgd", plan.binding.model), optimizer.state_dict())
        torch.optim.AdamW(plan.binding.model.parameters()).load_state_dict(
            plan.optimizer_state(make("adamw-amsgrad", plan.binding.model), optimizer.state_dict()).state_dict
        )


class TestRefusals:
    def test_factored_states(self):
        old = Old()
        optimizer = torch.optim.Adafactor(old.parameters())
        train(old, optimizer, range(1))
        plan = tg.plan(Old(), old.state_dict())
        new = torch.optim.Adafactor(plan.binding.model.parameters())
        with pytest.raises(tg.ModelError, match="keeps 'row_var', float32"):
            plan.optimizer_state(
                new, optimizer.state_dict(), param_names=[n for n, _ in old.named_parameters()]
            )

    @pytest.mark.parametrize("value", [torch.zeros(8, 3, 3, 3, dtype=torch.uint8), [torch.zeros(3)], {}])
    def test_what_is_no_moment(self, value, trained):
        old, optimizer = trained("adam", 1)
        state = optimizer.state_dict()
        state["state"][0]["exp_avg"] = value
        plan = tg.plan(Old(), old.state_dict())
        with pytest.raises(tg.ModelError, match=r"conv.weight: the optimizer keeps 'exp_avg'"):
            plan.optimizer_state(make("adam", plan.binding.model), state)

    @pytest.mark.parametrize("state", [{}, {"state": {}}, {"state": {}, "param_groups": []}])
    def test_no_state_at_all(self, state, trained):
        old, _ = trained("adam", 1)
        plan = tg.plan(Old(), old.state_dict())
        with pytest.raises(tg.CheckpointError, match="is not what an optimizer's state_dict"):
            plan.optimizer_state(make("adam", plan.binding.model), state)

    def test_an_optimizer_of_other_parameters(self, trained):
        old, optimizer = trained("adam", 1)
        with torch.device("meta"):
            model = Old()
        new = make("adam", model)
        plan = tg.plan(model, old.state_dict())
        plan.apply()
        with pytest.raises(tg.ModelError, match="that is not the model's"):
            plan.optimizer_state(new, optimizer.state_dict())
        resumed(plan, make("adam", model), optimizer.state_dict())

    def test_a_plan_that_is_not_bound(self, trained):
        old, optimizer = trained("adam", 1)
        model = Old()
        plan = tg.Plan.from_json(tg.plan(model, old.state_dict()).to_json())
        with pytest.raises(tg.ModelError, match="not bound"):
            plan.optimizer_state(make("adam", model), optimizer.state_dict())
        bound = plan.bind(model, old.state_dict())
        new = make("adam", model)
        resumed(bound, new, optimizer.state_dict())
        assert train(model, new, range(2)) == train(old, optimizer, range(2))

    def test_what_was_resampled_starts_anew(self, trained, monkeypatch):
        old, optimizer = trained("adam", 1)
        model = Old(channels=4)
        plan = tg.plan(model, old.state_dict())
        monkeypatch.setattr("torchgraft.planning.moments._MIXING", ())
        carried = plan.optimizer_state(make("adam", model), optimizer.state_dict())
        assert carried.fresh == {
            "conv.weight": "its weight was changed in a way that gradients can't follow: "
            "input channels 3→4, repeat"
        }
