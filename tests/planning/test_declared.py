"""What `allow_fresh` takes, and how a refusal says what to declare."""

from __future__ import annotations

import pytest

from torchgraft.planning.declared import Declared, parts_of

NAMES = ["stem.weight", "body.0.weight", "body.0.bias", "body.1.weight", "head.fc.weight", "head.fc.bias"]


@pytest.mark.parametrize(
    ("wanted", "parts"),
    [
        (["head.fc.weight", "head.fc.bias"], ("head.*",)),
        (["body.0.weight", "body.0.bias"], ("body.0",)),
        (["body.0.bias"], ("body.0.bias",)),
        (["body.0.bias", "body.1.weight"], ("body.0.bias", "body.1")),
        (["body.0.weight", "body.0.bias", "body.1.weight"], ("body",)),
        (NAMES, ("stem.*", "body", "head.*")),
        ([], ()),
    ],
)
def test_parts_are_the_fewest_paths_and_cover_no_more(wanted: list[str], parts: tuple[str, ...]) -> None:
    assert parts_of(wanted, NAMES) == parts
    declared = Declared.parse(parts)
    assert [name for name in NAMES if declared.names(name)] == sorted(wanted, key=NAMES.index)
