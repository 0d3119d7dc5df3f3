"""`--tokens`, `--source-tokens`, `--vocabulary`, `--pad-to-multiple` and `--layers`."""

import json

import pytest
import torch

import torchgraft as tg

WORDS = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, x):
        return x + self.down(self.up(x).relu())

class Words(nn.Module):
    def __init__(self, size, blocks):
        super().__init__()
        self.embed = nn.Embedding(size, 4)
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))
        self.score = nn.Linear(4, size)

    def forward(self, tokens):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.score(x)

def build(size=6, blocks=4):
    return Words(size, blocks)

def small(size=6):
    return Words(size, 2)
"""


@pytest.fixture
def words(place, monkeypatch):
    """A folder with a model over tokens, its weights, and two vocabularies."""
    import sys

    monkeypatch.delitem(sys.modules, "words_net", raising=False)
    (place / "words_net.py").write_text(WORDS)
    import words_net

    model = words_net.build()
    torch.save(model.state_dict(), place / "words.pth")
    (place / "old.txt").write_text("\n".join("abcdef"))
    (place / "new.json").write_text(json.dumps(dict(zip("xfeyba", range(6), strict=True))))
    return model


def test_tokens(words, call):
    arguments = ("--source-tokens", "old.txt", "--tokens", "new.json")
    result = call("graft", "words_net:build", "words.pth", *arguments, "-o", "out.pth")
    assert result.exit_code == 0, result.output
    made = torch.load("out.pth", weights_only=True)["embed.weight"]
    assert torch.equal(made[[1, 2, 4, 5]], words.embed.weight[[5, 4, 1, 0]])
    data = json.loads(call("plan", "words_net:build", "words.pth", *arguments, "--json").stdout)
    assert {entry["role"] for entry in data["plan"]["targets"] if entry["status"] == "adapted"} == {
        "vocabulary"
    }


def test_one_side_alone_is_refused(words, call):
    result = call("plan", "words_net:build", "words.pth", "--tokens", "new.json")
    assert result.exit_code == 6
    assert "--source-tokens" in result.stderr


def test_adapt(words, call):
    result = call(
        *("adapt", "words_net:build", "--weights", "words.pth", "--vocabulary", "7"),
        *("--pad-to-multiple", "8", "--mode", "vocabulary=mean", "-o", "larger"),
    )
    assert result.exit_code == 0, result.output
    made = tg.load("larger", builder="words_net:build")
    assert torch.equal(made.embed.weight[:6], words.embed.weight)
    torch.testing.assert_close(made.embed.weight[6:], words.embed.weight.mean(0).expand(2, -1))
    result = call(
        *("adapt", "words_net:build", "--weights", "words.pth", "-o", "other.pth"),
        *("--source-tokens", "old.txt", "--tokens", "new.json"),
    )
    assert result.exit_code == 0, result.output
    made = torch.load("other.pth", weights_only=True)
    assert torch.equal(made["score.bias"][[1, 5]], words.score.bias[[5, 0]])


@pytest.mark.parametrize(
    ("layers", "wanted"), [("even", [0, 3]), ("every 2", [0, 2]), ("3,1", [3, 1]), ("last", [2, 3])]
)
def test_layers(words, call, layers, wanted):
    result = call("graft", "words_net:small", "words.pth", "--layers", layers, "-o", "out.pth")
    assert result.exit_code == 0, result.output
    made = torch.load("out.pth", weights_only=True)
    for place, number in enumerate(wanted):
        assert torch.equal(made[f"blocks.{place}.up.weight"], words.blocks[number].up.weight)


@pytest.mark.parametrize(("layers", "code"), [("1,x", 2), ("every 3x", 3), ("middle", 3), ("0,9", 3)])
def test_layers_that_can_not_be(words, call, layers, code):
    result = call("plan", "words_net:small", "words.pth", "--layers", layers)
    assert result.exit_code != 0
    assert (result.exit_code == 2) == (code == 2)
