"""What a pair is: a model with weights, what the user holds of them, and the model they should go into."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

State: TypeAlias = dict[str, torch.Tensor]
Build: TypeAlias = Callable[[], nn.Module]
Expect: TypeAlias = Literal["solve", "refuse", "careful"]


@dataclass(frozen=True)
class Side:
    """A model, and how it is run.

    Attributes:
        build: Makes the model; its weights are replaced.
        feed: From the pair's inputs to the arguments of a call.
        pick: From what the call returns to the tensor that is compared.
        fill: Gives the model its weights, where they aren't random PyTorch ones: of (model, inputs, seed).
        settle: Changes the filled model where two implementations truly differ; the pair's note says so.
    """

    build: Build
    feed: Callable[[torch.Tensor], dict[str, Any] | tuple[Any, ...]] = lambda x: (x,)
    pick: Callable[[Any], torch.Tensor] | None = None
    fill: Callable[[nn.Module, torch.Tensor | None, int], object] | None = None
    settle: Callable[[nn.Module], object] | None = None


@dataclass(frozen=True)
class Pair:
    """One question: do these weights find their places in that model?

    Attributes:
        name: `subject:source>target`.
        family: The row of the table it counts for.
        source: The model that the weights come from.
        target: The model that they go into.
        inputs: Makes what both are run on, from a seeded generator.
        held: From the source's state dict to what the user holds (prefixes, another layout, a file's path).
        arguments: What the user declares: `allow_fresh`, …
        truth: For models whose outputs can't be compared: from the source's own state dict to what the
            target's tensors must be, exactly; the others must be untouched.
        check: What is wrong with the loaded target, for published weights, whose predictions on photos tell.
        oracle: Fills the target from the source, where values can't be traced.
        expect: `solve`; `refuse` where nothing tells and an answer is a guess; `careful`: both are right.
        note: What was set equal, where two implementations differ.
    """

    name: str
    family: str
    source: Side
    target: Side
    inputs: Callable[[torch.Generator], torch.Tensor]
    held: Callable[[State], Any] = dict
    arguments: Mapping[str, Any] = field(default_factory=dict)
    truth: Callable[[State], State] | None = None
    check: Callable[[nn.Module], str | None] | None = None
    oracle: Callable[[nn.Module, nn.Module, torch.Tensor], object] | None = None
    expect: Expect = "solve"
    note: str = ""


REGISTRY: dict[str, Pair] = {}
"""Every pair by its name."""


def add(pair: Pair) -> Pair:
    assert pair.name not in REGISTRY, f"two pairs are called {pair.name}"
    REGISTRY[pair.name] = pair
    return pair


def side(built: Side | Build) -> Side:
    return built if isinstance(built, Side) else Side(built)


def directions(
    subject: str,
    family: str,
    inputs: Callable[[torch.Generator], torch.Tensor],
    *,
    only: tuple[str, ...] = (),
    note: str = "",
    arguments: Mapping[str, Mapping[str, Any]] | None = None,
    **sides: Side | Build,
) -> None:
    """A pair for every ordered two of `sides`, or for those in `only` (`"tv>timm"`).

    `arguments` are declared with pairs that go into the target, or that are the pair, they are listed under.
    """
    said = arguments or {}
    for source, target in permutations(sides, 2):
        if only and f"{source}>{target}" not in only:
            continue
        add(
            Pair(
                f"{subject}:{source}>{target}",
                family,
                side(sides[source]),
                side(sides[target]),
                inputs,
                arguments={**said.get(target, {}), **said.get(f"{source}>{target}", {})},
                note=note,
            )
        )


def image(size: int, channels: int = 3, count: int = 2) -> Callable[[torch.Generator], torch.Tensor]:
    return lambda generator: torch.randn(count, channels, size, size, generator=generator)


def tokens(vocabulary: int, length: int = 12, count: int = 2) -> Callable[[torch.Generator], torch.Tensor]:
    return lambda generator: torch.randint(4, vocabulary, (count, length), generator=generator)


def sequence(width: int, length: int = 9, count: int = 2) -> Callable[[torch.Generator], torch.Tensor]:
    return lambda generator: torch.randn(count, length, width, generator=generator)
