"""Blocks chosen from a deeper checkpoint, as distillation starts with, or repeated for a deeper model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
)

import torchgraft as tg


def bert(blocks):
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 20}
    return BertModel(BertConfig(num_hidden_layers=blocks, **sizes))


def block(state, number, stack="encoder.layer"):
    """A block's tensors, by their names in it."""
    start = f"{stack}.{number}."
    return {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


CHOICES = [
    ("even", 12, [0, 2, 4, 7, 9, 11]),  # DistilBERT's script
    ("even", 12, [0, 6, 11]),  # DistilBART's table, but for its 6
    ("every 2", 12, [0, 2, 4, 6, 8, 10]),
    ("every 5", 12, [0, 5, 10]),
    ("first", 12, [0, 1, 2]),
    ("last", 12, [9, 10, 11]),
    ([5, None, 5, 0], 6, [5, None, 5, 0]),
    ({"layer": [2, 0, 1]}, 3, [2, 0, 1]),
    ("even", 3, [0, 0, 1, 2, 2]),
    ([*range(6), *range(2, 8)], 8, [*range(6), *range(2, 8)]),  # SOLAR's 48 of 32, scaled down
]


@pytest.mark.parametrize(("choice", "deep", "wanted"), CHOICES)
def test_which_blocks_go_where(choice, deep, wanted):
    torch.manual_seed(0)
    source, model = bert(deep), bert(len(wanted))
    if choice == "even":
        assert [int(i) for i in np.linspace(0, deep - 1, len(wanted)).round()] == wanted
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plan = tg.plan(model, source, layers=choice, allow_fresh="encoder.layer.1")
    plan.apply()
    theirs, ours = source.state_dict(), model.state_dict()
    for place, number in enumerate(wanted):
        expected = block(before, place) if number is None else block(theirs, number)
        assert same(block(ours, place), expected)
    assert torch.equal(ours["embeddings.word_embeddings.weight"], theirs["embeddings.word_embeddings.weight"])
    unused = {entry.name for entry in plan.sources if entry.status == "unused"}
    left = set(range(deep)) - set(wanted)
    assert unused == {f"encoder.layer.{number}.{name}" for number in left for name in block(theirs, number)}
    assert {e.why for e in plan.sources if e.status == "unused"} <= {
        "its block is not among the layers chosen"
    }
    assert f"'encoder.layer' ({deep}) go to {len(wanted)} of the model" in plan.notes[0]


def test_there_and_back_and_as_a_script():
    source, model = bert(4), bert(2)
    plan = tg.plan(model, source, layers="even")
    plan.apply()
    space: dict[str, object] = {}
    exec(plan.python(), space)
    assert same(space["convert"](source.state_dict()), model.state_dict())
    with torch.no_grad():
        model.encoder.layer[1].output.dense.bias += 1
    back = plan.restore(model)
    assert same(block(back, 1), block(source.state_dict(), 1))
    assert torch.equal(block(back, 3)["output.dense.bias"], model.encoder.layer[1].output.dense.bias)


def test_a_repeated_block_goes_back_while_its_copies_agree():
    source, model = bert(2), bert(4)
    plan = tg.plan(model, source, layers="even")
    plan.apply()
    assert same(dict(plan.restore(model)), source.state_dict())
    with torch.no_grad():
        model.encoder.layer[1].output.dense.bias += 1
    with pytest.raises(tg.ModelError, match="hold different values"):
        plan.restore(model)


def test_under_other_names():
    """BERT into DistilBERT's own class, whose names and layers differ."""
    source = bert(12)
    model = DistilBertModel(DistilBertConfig(dim=8, n_layers=6, n_heads=2, hidden_dim=16, vocab_size=20))
    tg.graft(model, source, layers="even")
    for place, number in enumerate([0, 2, 4, 7, 9, 11]):
        ours, theirs = model.transformer.layer[place], source.encoder.layer[number]
        assert torch.equal(ours.attention.q_lin.weight, theirs.attention.self.query.weight)
        assert torch.equal(ours.ffn.lin2.bias, theirs.output.dense.bias)
        assert torch.equal(ours.output_layer_norm.weight, theirs.output.LayerNorm.weight)


def test_a_stage_of_a_resnet():
    source, model = torchvision.models.resnet34(), torchvision.models.resnet18()
    plan = tg.plan(model, source, layers="even")
    assert plan.notes == (
        "blocks 0, 2 of 'layer1' (3) go to 2 of the model",
        "blocks 0, 3 of 'layer2' (4) go to 2 of the model",
        "blocks 0, 5 of 'layer3' (6) go to 2 of the model",
        "blocks 0, 2 of 'layer4' (3) go to 2 of the model",
    )
    plan.apply()
    assert torch.equal(model.layer3[1].conv2.weight, source.layer3[5].conv2.weight)
    assert torch.equal(model.layer3[0].downsample[1].bias, source.layer3[0].downsample[1].bias)


def bart(encoder, decoder):
    sizes = {"encoder_ffn_dim": 8, "decoder_ffn_dim": 8, "vocab_size": 20, "d_model": 8}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    depth = {"encoder_layers": encoder, "decoder_layers": decoder}
    return BartForConditionalGeneration(BartConfig(**sizes, **heads, **depth))


def test_encoder_and_decoder_apart():
    source, model = bart(4, 4), bart(4, 2)
    tg.graft(model, source, layers={"decoder.layers": [0, 3]})
    ours, theirs = model.state_dict(), source.state_dict()
    assert same(block(ours, 1, "model.decoder.layers"), block(theirs, 3, "model.decoder.layers"))
    assert same(block(ours, 3, "model.encoder.layers"), block(theirs, 3, "model.encoder.layers"))
    model = bart(2, 2)
    tg.graft(model, source, layers={"encoder.layers": "last", "decoder.layers": "every 2"})
    ours = model.state_dict()
    assert same(block(ours, 0, "model.encoder.layers"), block(theirs, 2, "model.encoder.layers"))
    assert same(block(ours, 1, "model.decoder.layers"), block(theirs, 2, "model.decoder.layers"))


@pytest.mark.parametrize(
    ("choice", "deep", "blocks", "message"),
    [
        ("every 2", 12, 5, "which gives 6: 'encoder.layer' has 12 blocks, 'encoder.layer' of the model 5"),
        ("last", 2, 3, "which needs no more than there are"),
        ("middle", 4, 2, "no way of choosing layers called 'middle'"),
        ([0], 4, 2, "lists 1 blocks"),
        ([0, 4], 4, 2, "lists 4"),
        ([0, True], 4, 2, "lists True"),
        ("even", 4, 4, "no stack of blocks is of another length"),
        ({"decoder": "even"}, 4, 2, "names 'decoder', which is no stack"),
    ],
)
def test_choices_that_do_not_fit(choice, deep, blocks, message):
    with pytest.raises(tg.MatchError, match=message):
        tg.plan(bert(blocks), bert(deep), layers=choice)


def test_a_flat_network_has_no_blocks():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises(tg.MatchError, match="its stacks: none"):
        tg.plan(net, net, layers="even")
