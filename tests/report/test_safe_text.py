import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchgraft.report.safe_text import clean


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("layer1.0.weight", "layer1.0.weight"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\rb\nc\td", r"a\rb\nc\td"),
        ("\x00\x7f\x9b", r"\x00\x7f\x9b"),
        ("abc\u202egnp", r"abc\u202egnp"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("line\u2028sep", r"line\u2028sep"),
        ("\ud800", r"\ud800"),
        ("café 猫 🐈", "café 猫 🐈"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("[bold]", "[bold]"),
        ("<b>", "<b>"),
    ],
)
def test_control_and_formatting_characters_are_spelled_out(text, shown):
    assert clean(text) == shown


def test_endless_names_lose_their_middle():
    shown = clean("a" * 5000 + "END", limit=100)
    assert len(shown) <= 100
    assert shown.startswith("aaa")
    assert shown.endswith("END")
    assert "…" in shown


@given(st.text(max_size=80))
def test_nothing_that_steers_a_terminal_survives(text):
    shown = clean(text)
    assert not any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in shown)
    assert clean(shown) == shown
    shown.encode()
