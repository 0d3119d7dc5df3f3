"""Lists of tensors written as text, and pairs read back as a dict."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from torchgraft.matching import Flow, match
from torchgraft.tensors import Named

LEAVES = {
    "weight", "bias", "gamma", "beta", "scale", "kernel", "w", "b", "running_mean", "running_var",
    "num_batches_tracked",
}  # fmt: skip


def _net(text: str) -> list[Named]:
    tensors = []
    for word in text.split():
        name, _, shape = word.partition(":")
        last = name.replace("/", ".").rpartition(".")[2]
        bare = last in LEAVES or last.endswith(("_weight", "_bias")) or name.endswith("!")
        name = name.removesuffix("!") if bare else f"{name}.weight"
        tensors.append(Named(name, tuple(int(size) for size in shape.split(",") if size)))
    return tensors


@pytest.fixture
def net() -> Callable[[str], list[Named]]:
    """Makes tensors from `name:8,3,3,3 other:8`; `.weight` is put on unless a leaf or a `!` ends the name."""
    return _net


@pytest.fixture
def paired() -> Callable[..., dict[str, tuple[str, ...]]]:
    """Gives, for each target that is filled, all its sources."""

    def pair(sources: Sequence[Named], targets: Sequence[Named], **how: object) -> dict[str, tuple[str, ...]]:
        return {pair.target: pair.sources for pair in match(sources, targets, **how).pairs}  # type: ignore[arg-type]

    return pair


@pytest.fixture
def chain() -> Callable[[str], Callable[[], Flow]]:
    """A flow in which each of these names, groups in brackets aside, feeds the next: `"a b,c d"`."""

    def build(text: str) -> Callable[[], Flow]:
        groups = [group.split(",") for group in text.split()]
        names = [name for group in groups for name in group]
        order = {name: place for place, group in enumerate(groups) for name in group}
        bits = [sum(1 << names.index(name) for name in group) for group in groups]
        sides = (
            {name: beside[place] for place, group in enumerate(groups) for name in group}
            for beside in ([0, *bits[:-1]], [*bits[1:], 0])
        )
        above, below = sides
        return lambda: Flow(order, above, below, {})

    return build
