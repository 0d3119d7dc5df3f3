"""Random networks, renamed at random but consistently: what is paired is right, or nothing is paired.

The truth is how the names were made. A new name's words are drawn from syllables that say nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torchgraft.errors import MatchError
from torchgraft.matching import match
from torchgraft.tensors import Named

WIDTHS = st.sampled_from([4, 6, 8])
SYLLABLES = st.text("zxjwyup", min_size=3, max_size=6)


@dataclass(frozen=True)
class Layer:
    kind: str
    sizes: tuple[int, int]

    def tensors(self, path: str) -> list[Named]:
        out, into = self.sizes
        shapes = {
            "conv": [("weight", (out, into, 3, 3))],
            "linear": [("weight", (out, into)), ("bias", (out,))],
            "norm": [("weight", (out,)), ("bias", (out,))],
        }[self.kind]
        return [Named(f"{path}.{leaf}", shape) for leaf, shape in shapes]


LAYERS = st.builds(Layer, st.sampled_from(["conv", "linear", "norm"]), st.tuples(WIDTHS, WIDTHS))


@st.composite
def networks(draw: st.DrawFn) -> tuple[list[Named], list[Named], dict[str, str]]:
    """A network's tensors in two namings, and which target each source is."""
    layers = draw(st.lists(LAYERS, min_size=1, max_size=4))
    numbered = draw(st.booleans())
    blocks = draw(st.integers(1, 4))
    names = draw(st.lists(SYLLABLES, min_size=2 * len(layers) + 6, max_size=2 * len(layers) + 6, unique=True))
    words = iter(names)
    stack, other_stack = next(words), next(words)
    start, nested = draw(st.integers(0, 3)), draw(st.booleans())
    inner = next(words)
    ours: list[tuple[str, Layer]] = [("stem", Layer("conv", (5, 3)))]
    theirs = [(next(words), Layer("conv", (5, 3)))]
    mine = [f"part{i}" if numbered else f"name_{'abcd'[i]}x" for i in range(len(layers))]
    yours = [next(words) for _ in layers]
    for block in range(blocks):
        for i, layer in enumerate(layers):
            ours.append((f"{stack}.{block}.{mine[i]}", layer))
            path = f"{other_stack}.{block + start}.{inner}" if nested else f"{other_stack}{block + start}"
            theirs.append((f"{path}.{yours[i]}{i + start if numbered else ''}", layer))
    ours.append(("head", Layer("linear", (7, 4))))
    theirs.append((next(words), Layer("linear", (7, 4))))
    sources, targets, truth = [], [], {}
    for (here, layer), (there, _) in zip(ours, theirs, strict=True):
        for one, other in zip(layer.tensors(here), layer.tensors(there), strict=True):
            sources.append(one)
            targets.append(other)
            truth[one.name] = other.name
    return draw(st.permutations(sources)), draw(st.permutations(targets)), truth


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks())
def test_right_or_refused(network):
    sources, targets, truth = network
    for ours, theirs, right in (
        (sources, targets, truth),
        (targets, sources, {t: s for s, t in truth.items()}),
    ):
        try:
            found = match(ours, theirs)
        except MatchError:
            continue
        wrong = {pair.source: pair.target for pair in found.pairs if right[pair.source] != pair.target}
        assert not wrong


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks(), st.lists(SYLLABLES, min_size=1, max_size=3))
def test_a_prefix_changes_nothing(network, prefix):
    sources, _, _ = network
    under = ".".join(prefix)
    found = match([Named(f"{under}.{s.name}", s.shape) for s in sources], sources)
    assert {pair.source: f"{under}.{pair.target}" for pair in found.pairs} == {
        f"{under}.{s.name}": f"{under}.{s.name}" for s in sources
    }
