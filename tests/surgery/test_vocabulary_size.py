"""Another vocabulary on a live model: as transformers resizes it, tokens by name, and nothing untied."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from torch import nn
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

import torchgraft as tg

BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 50,
}
IDS = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
BART = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 8,
    "decoder_ffn_dim": 8,
    "vocab_size": 50,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": 2,
}
T5 = {"d_model": 16, "d_ff": 32, "num_layers": 1, "num_heads": 2, "d_kv": 8, "vocab_size": 50}
MODELS = {
    "BertModel": lambda: BertModel(BertConfig(**BERT)),
    "BertForMaskedLM": lambda: BertForMaskedLM(BertConfig(**BERT)),
    "BertForMaskedLM, untied": lambda: BertForMaskedLM(BertConfig(**BERT, tie_word_embeddings=False)),
    "GPT2": lambda: GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=50, **IDS)),
    "Llama": lambda: LlamaForCausalLM(LlamaConfig(**BERT, **IDS)),
    "DistilBERT": lambda: DistilBertForMaskedLM(
        DistilBertConfig(dim=16, n_layers=1, n_heads=2, hidden_dim=32, vocab_size=50)
    ),
    "T5": lambda: T5ForConditionalGeneration(T5Config(**T5)),
    "BART": lambda: BartForConditionalGeneration(BartConfig(**BART, **IDS)),
}


def ties(model):
    """Which names stand for one parameter."""
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    held = dict(model.named_parameters(remove_duplicate=False))
    return [[other for other in names if held[other] is held[name]] for name in names]


@pytest.mark.parametrize("size", [61, 40])
@pytest.mark.parametrize("name", MODELS)
def test_it_is_transformers_own_resizing(name, size):
    model = MODELS[name]().eval()
    other, tied = copy.deepcopy(model), ties(model)
    assert tg.adapt(model, vocabulary=size, modes={"vocabulary": "zeros"}) is model
    other.resize_token_embeddings(size, mean_resizing=False)
    ours, theirs = model.state_dict(), other.state_dict()
    assert list(ours) == list(theirs)
    for key, value in ours.items():
        kept = min(size, 50) if value.shape != theirs[key].shape or value.shape[:1] == (size,) else None
        assert value.shape == theirs[key].shape, key
        assert torch.equal(value[:kept], theirs[key][:kept]), key
        assert kept is None or not value[kept:].any()
    assert model.config.vocab_size == other.config.vocab_size == size
    assert ties(model) == tied
    layer = model.get_input_embeddings()
    assert layer.num_embeddings == size
    assert all(parameter.requires_grad for parameter in model.parameters())


class Words(nn.Module):
    """One's own model: an embedding with a padding token, a tied head, sizes kept in attributes."""

    def __init__(self, vocab_size: int = 6) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.embed = nn.Embedding(vocab_size, 4, padding_idx=1)
        self.score = nn.Linear(4, vocab_size)
        self.score.weight = self.embed.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.score(self.embed(tokens))


def test_tokens_and_padding():
    model = Words()
    source = copy.deepcopy(model)
    tg.adapt(model, source_tokens=list("abcdef"), tokens=list("xfeyba"), pad_to_multiple=8)
    assert (model.vocab_size, model.embed.num_embeddings, model.score.out_features) == (8, 8, 8)
    assert model.embed.padding_idx == 4
    assert model.score.weight is model.embed.weight
    tokens = torch.tensor([[5, 4, 1, 2]])
    wanted = source(torch.tensor([[0, 1, 5, 4]]))[..., [0, 1, 5, 4]]
    assert torch.equal(model(tokens)[..., [5, 4, 1, 2]], wanted)
    assert tg.info_of(model).surgery == ({"vocabulary": 8, "tables": ["embed", "score"]},)


def test_ids_in_the_config_follow_their_tokens(caplog):
    model = LlamaForCausalLM(LlamaConfig(**{**BERT, "vocab_size": 4}, **{**IDS, "eos_token_id": [2, 3]}))
    with caplog.at_level(logging.WARNING, "torchgraft"):
        tg.adapt(model, source_tokens=["<s>", "<p>", "</s>", "."], tokens=[".", "</s>", "<s>", "new"])
    assert (model.config.bos_token_id, model.config.eos_token_id) == (2, [1, 0])
    assert (model.generation_config.bos_token_id, model.generation_config.eos_token_id) == (2, [1, 0])
    assert "pad_token_id: the new vocabulary does not have token 1" in caplog.text


def test_padding_alone_and_nothing_to_do():
    model = Words()
    before = model.embed.weight
    tg.adapt(model, vocabulary=6)
    assert model.embed.weight is before
    tg.adapt(model, pad_to_multiple=3)
    assert model.embed.weight is before
    tg.adapt(model, pad_to_multiple=4, modes={"vocabulary": "mean"})
    torch.testing.assert_close(model.embed.weight[6:], before.mean(0).expand(2, -1))
    assert tg.info_of(model).surgery == ({"vocabulary": 8, "tables": ["embed", "score"]},)


def test_it_works_without_values_and_shrinks_below_the_padding_token():
    with torch.device("meta"):
        model = Words()
    tg.adapt(model, vocabulary=1)
    assert model.score.weight.shape == (1, 4)
    assert model.embed.padding_idx is None


def test_classes_and_tokens_at_once_and_again_from_a_file(tmp_path):
    model = tg.create_model(f"{__name__}:words_and_classes", vocabulary=9, num_classes=3)
    assert (model.embed.num_embeddings, model.head.out_features) == (9, 3)
    assert [set(step) & {"vocabulary", "num_classes"} for step in tg.info_of(model).surgery] == [
        {"vocabulary"},
        {"num_classes"},
    ]
    tg.save(model, tmp_path / "model")
    again = tg.load(tmp_path / "model", builder=f"{__name__}:words_and_classes")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_weights_of_another_vocabulary_bring_it_along(tmp_path):
    stored = words_and_classes()
    tg.adapt(stored, vocabulary=11)
    torch.save(stored.state_dict(), tmp_path / "w.pth")
    whole = tg.create_model(f"{__name__}:words_and_classes", weights=tmp_path / "w.pth")
    assert torch.equal(whole.embed.weight, stored.embed.weight)
    tokens = [chr(97 + row) for row in range(11)]
    part = tg.create_model(
        f"{__name__}:words_and_classes",
        weights=tmp_path / "w.pth",
        source_tokens=tokens,
        tokens=tokens[::-2],
    )
    assert torch.equal(part.embed.weight, stored.embed.weight.flip(0)[::2])


class WordsAndClasses(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(6, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(tokens).mean(1))


def words_and_classes():
    return WordsAndClasses()


class Fixed(Words):
    """A model that relies on its size elsewhere."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return super().forward(tokens) + torch.ones(6)


@pytest.mark.parametrize(
    ("make", "arguments", "error", "message"),
    [
        (Words, {"vocabulary": 0}, tg.AdaptError, "vocabulary must be a whole number"),
        (Words, {"vocabulary": 3, "pad_to_multiple": True}, tg.AdaptError, "pad_to_multiple must be"),
        (Words, {"tokens": list("ab")}, tg.AdaptError, "give source_tokens="),
        (
            Words,
            {"vocabulary": 1, "source_tokens": list("ab"), "tokens": list("ab")},
            tg.AdaptError,
            "there are 2 tokens",
        ),
        (Words, {"vocabulary": 8, "modes": {"vocabulary": "own"}}, tg.AdaptError, 'mode "own"'),
        (Words, {"vocabulary": 8, "modes": {"vocabulary": "median"}}, tg.AdaptError, "no vocabulary mode"),
        (Words, {"vocabulary": 8, "tables": "nowhere"}, tg.AnatomyError, "no module 'nowhere'"),
        (Fixed, {"vocabulary": 8}, tg.AdaptError, "depends on them elsewhere too"),
        (lambda: nn.Linear(3, 4), {"vocabulary": 8}, tg.AnatomyError, "no table over tokens"),
        (
            lambda: nn.Sequential(nn.Embedding(3, 4), nn.Linear(4, 5)),
            {"vocabulary": 8, "tables": ["0", "1"]},
            tg.AdaptError,
            r"different sizes: 0 \(3\), 1 \(5\)",
        ),
    ],
)
def test_what_is_refused_leaves_the_model_as_it_was(make, arguments, error, message):
    model = make()
    before = {name: (id(p), p.detach().clone()) for name, p in model.named_parameters(remove_duplicate=False)}
    sizes = [vars(module).get("num_embeddings") for module in model.modules()]
    with pytest.raises(error, match=message):
        tg.adapt(model, **arguments)
    after = {name: (id(p), p) for name, p in model.named_parameters(remove_duplicate=False)}
    assert all(before[name][0] == after[name][0] for name in before)
    assert all(torch.equal(before[name][1], after[name][1]) for name in before)
    assert sizes == [vars(module).get("num_embeddings") for module in model.modules()]
