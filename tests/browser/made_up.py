"""Made-up plans, checkpoints and comparisons for pages, of any size; nothing is read or matched."""

from __future__ import annotations

from torchgraft.checkpoint import Checkpoint
from torchgraft.comparing import Diff, TensorDiff, ValueDiff
from torchgraft.measuring import BINS, Histogram, TensorStats
from torchgraft.planning import Plan, SourceEntry, TargetEntry
from torchgraft.tensors import TensorRef

LEAVES = (
    ("attn.qkv.weight", (192, 64)),
    ("attn.qkv.bias", (192,)),
    ("mlp.fc1.weight", (256, 64)),
    ("norm.weight", (64,)),
)
HOSTILE = (
    "<script>document.title='owned'</script>.weight",
    "</script><script>document.title='owned'</script>.weight",
    "<img src=x onerror=\"document.title='owned'\">.weight",
    "\u202egnp.exe.weight",
    "\x1b]0;owned\x07.weight",
    "a\u2028b\u2029c.weight",
    "__proto__.constructor.weight",
    "toString",
    "..",
    "",
    "\U0001f4a9\U0001f4a9.weight",
    "\U0001f4a9\U0001f4ab.weight",
    "x" * 10_000_000,
)
"""What a file may call its tensors."""


def plan(blocks: int = 10, *, declared: bool = False) -> Plan:
    """A transformer of four tensors a block with a new head, an adapted stem, and an old head unused."""
    targets = [
        TargetEntry(
            "stem.weight", (64, 1, 16, 16), "float32", False, "stem", "adapted", "the first convolution",
            source="patch.weight", source_shape=(64, 3, 16, 16), source_dtype="float16",
        )
    ]  # fmt: skip
    targets += [
        TargetEntry(
            f"blocks.{i}.{leaf}", shape, "float32", False, "body", "loaded", "prefix 'old.' removed",
            source=f"old.blocks.{i}.{leaf}", source_shape=shape, source_dtype="float32",
        )
        for i in range(blocks)
        for leaf, shape in LEAVES
    ]  # fmt: skip
    head = (("head.weight", (7, 64)), ("head.bias", (7,)))
    targets += [
        TargetEntry(
            name, shape, "float32", False, "head", "fresh", "not in the checkpoint", declared=declared
        )
        for name, shape in head
    ]
    used = [
        SourceEntry(t.source, t.source_shape or (), "float32", "used", f"goes to {t.name}")
        for t in targets
        if t.source
    ]
    unused = [SourceEntry("classifier.weight", (1000, 64), "float32", "unused", "no place for it")]
    return Plan("Net", "folder/weights.pth", "prefix 'old.' removed", tuple(targets), (*used, *unused))


def histograms(plan: Plan) -> dict[str, tuple[Histogram, Histogram]]:
    """The same two for every tensor that is filled."""
    one, other = Histogram(-1.0, 1.0, tuple(range(BINS))), Histogram(-1.0, 1.0, (5,) * BINS)
    return {entry.name: (one, other) for entry in plan.targets if entry.status != "fresh"}


def refs(names: list[str], shape: tuple[int, ...] = (4, 8)) -> list[TensorRef]:
    """Tensors that nobody reads."""

    def fetch(_: object) -> object:
        raise AssertionError("a page reads no tensor")

    return [TensorRef(name, shape, "float32", fetch=fetch) for name in names]  # type: ignore[arg-type]


def checkpoint(names: list[str], *, metadata: dict[str, object] | None = None) -> Checkpoint:
    """A file of such tensors."""
    return Checkpoint(
        {ref.name: ref for ref in refs(names)}, name="run/model.pth", format="torch zip", part="model",
        metadata=metadata or {}, classes=("evil.Payload",),
    )  # fmt: skip


def stats(names: list[str]) -> dict[str, TensorStats]:
    """Plain values, but the first has NaN and the second is dead."""
    plain = TensorStats(32, 0, 0, 0, -1.0, 1.0, 0.01, 0.5, Histogram(-1.0, 1.0, (1,) * BINS))
    odd = {0: TensorStats(32, 3, 0, 0, -1.0, 1.0, 0.0, 0.5), 1: TensorStats(32, 0, 0, 32, 0.0, 0.0, 0.0, 0.0)}
    return {name: odd.get(i, plain) for i, name in enumerate(names)}


def diff(blocks: int = 6) -> Diff:
    """Later blocks moved further; a head was replaced, a table reshaped."""
    tensors = [
        TensorDiff(
            f"blocks.{i}.{leaf}", (shape, shape), ("float32", "float32"), ("", ""),
            ValueDiff(i == 0, i * 7, 0, i * 0.1, 0.5, float(i), 10.0 if i else 0.0),
        )
        for i in range(blocks)
        for leaf, shape in LEAVES
    ]  # fmt: skip
    tensors.append(TensorDiff("pos", ((1, 50, 64), (1, 65, 64)), ("float32", "float32"), ("", "")))
    tensors.append(TensorDiff("old.weight", ((9, 9), None), ("float32", None), ("", None)))
    tensors.append(TensorDiff("new.weight", (None, (9, 9)), (None, "float32"), (None, "")))
    return Diff("a/before.pth", "b/after.pth", True, tuple(tensors))
