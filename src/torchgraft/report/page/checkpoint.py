"""The page about a checkpoint: what is in the file, its tensors, their values, what else it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from torchgraft.report.checkpoint_rows import dtype_totals
from torchgraft.report.metadata_rows import metadata_rows
from torchgraft.report.page.explorer import (
    SCRIPTS,
    STYLES,
    Column,
    Plot,
    State,
    View,
    explorer_data,
    shape_text,
)
from torchgraft.report.page.page import Figure, Page, Section
from torchgraft.report.quantities import compact, memory, plural
from torchgraft.report.safe_text import clean
from torchgraft.report.value_states import VALUE_STATES, findings, value_state

if TYPE_CHECKING:
    from torchgraft.checkpoint import Checkpoint
    from torchgraft.measuring import TensorStats
    from torchgraft.tensors import TensorRef

__all__ = ["ContentsSection", "TensorsSection", "checkpoint_page"]

_DTYPE_LOOKS = 6
_MOST_CLASSES = 200
_MOST_PARTS = 100
_MOST_HISTOGRAMS = 20_000  # of the largest tensors


def checkpoint_page(ckpt: Checkpoint, *, stats: Mapping[str, TensorStats] | None = None) -> Page:
    """What a checkpoint holds.

    Args:
        ckpt: What to show.
        stats: What was measured of its tensors (`torchgraft.measuring.measure`), if its values were read.
    """
    totals = dtype_totals(ckpt.values())
    file = clean(ckpt.name.replace("\\", "/").rpartition("/")[2] or ckpt.name)
    figures = [
        Figure(f"{len(ckpt):,}", "tensors in its weights"),
        Figure(compact(sum(total.numel for total in totals)), "elements"),
        Figure(memory(sum(total.nbytes for total in totals)), "of values"),
        Figure(" + ".join(total.dtype for total in totals[:2]) or "none", plural(len(totals), "dtype")),
    ]
    if stats is not None:
        bad = sum(bool(each.nan or each.inf) for each in stats.values())
        figures.append(Figure(f"{bad:,}", "tensors with NaN or infinities"))
    sections: list[Section] = [ContentsSection(ckpt), TensorsSection(ckpt, stats or {})]
    if ckpt.metadata:
        sections.append(MetadataSection(ckpt))
    about = f"{ckpt.format + ' file. ' if ckpt.format else ''}No code from it was run."
    return Page(file, about, tuple(sections), tuple(figures))


@dataclass(frozen=True, slots=True)
class ContentsSection:
    """What kind of file it is, its sets of tensors, its dtypes, the classes that it names."""

    ckpt: Checkpoint
    title: str = "What is in it"
    template: ClassVar[str] = "contents.html"

    def view(self) -> Mapping[str, object]:
        """Facts and shares."""
        ckpt = self.ckpt
        facts = [("file", clean(ckpt.name))]
        if ckpt.format:
            facts.append(("format", ckpt.format))
        if ckpt.path is not None and ckpt.path.is_file():
            facts.append(("size", memory(ckpt.path.stat().st_size)))
        part = clean(ckpt.part) or "the whole file"
        facts.append(("weights", f"{part}: {clean(ckpt.why, limit=1000)}" if ckpt.why else part))
        totals = dtype_totals(ckpt.values())
        most = sum(total.nbytes for total in totals) or 1
        return {
            "facts": facts,
            "parts": [
                (
                    part.name == ckpt.part,
                    clean(part.name) or "(root)",
                    f"{part.tensors:,}",
                    compact(part.numel),
                    ", ".join(part.dtypes),
                    part.kind,
                    clean(part.why, limit=1000),
                )
                for part in ckpt.parts[:_MOST_PARTS]
            ],
            "dtypes": [
                (
                    total.dtype,
                    f"{total.tensors:,}",
                    compact(total.numel),
                    memory(total.nbytes),
                    100 * total.nbytes / most,
                )
                for total in totals
            ],
            "classes": [clean(name) for name in ckpt.classes[:_MOST_CLASSES]],
            "more_classes": max(0, len(ckpt.classes) - _MOST_CLASSES),
        }


@dataclass(frozen=True, slots=True)
class TensorsSection:
    """Every tensor: its shape, size and dtype, and what its values are like where they were read."""

    ckpt: Checkpoint
    stats: Mapping[str, TensorStats] = field(default_factory=dict, repr=False)
    title: str = "Tensors"
    template: ClassVar[str] = "tensors.html"
    scripts: ClassVar[tuple[str, ...]] = SCRIPTS
    styles: ClassVar[tuple[str, ...]] = STYLES

    def view(self) -> Mapping[str, object]:
        """The map's data, and what is odd in a few lines."""
        views = self._views()
        return {
            "read": bool(self.stats),
            "findings": findings(self.ckpt, self.stats),
            "ways": [view.title for view in views],
            "data": self._data(views),
        }

    def _views(self) -> list[View]:
        refs = list(self.ckpt.values())
        order = [total.dtype for total in dtype_totals(refs)]
        number = {dtype: min(at, _DTYPE_LOOKS - 1) for at, dtype in enumerate(order)}
        words = [*order[: _DTYPE_LOOKS - 1], ", ".join(order[_DTYPE_LOOKS - 1 :])]
        states = [State(f"t{at}", word) for at, word in enumerate(words) if word]
        views = [View("dtype", states, [number[ref.dtype] for ref in refs])]
        if self.stats:
            views.insert(0, _values(refs, self.stats))
        return views

    def _data(self, views: list[View]) -> Mapping[str, object]:
        refs = list(self.ckpt.values())
        columns = [
            Column("shape", "shape", [shape_text(ref.shape) for ref in refs]),
            Column("dtype", "word", [ref.dtype for ref in refs], search=True),
            Column("elements", "count", [ref.numel for ref in refs], narrow=True),
            Column("size", "bytes", [ref.nbytes for ref in refs], table=not self.stats),
            Column("layout", "text", [ref.layout for ref in refs], table=False),
        ]
        plots = []
        if self.stats:
            stats = [self.stats[ref.name] for ref in refs]
            columns += [
                Column("mean", "number", [each.mean for each in stats]),
                Column("sd", "number", [each.sd for each in stats]),
                Column("least", "number", [each.low for each in stats]),
                Column("greatest", "number", [each.high for each in stats]),
                Column("zeros", "share", [each.zeros / each.count if each.count else None for each in stats]),
                Column("NaN", "count", [each.nan or None for each in stats], table=any(s.nan for s in stats)),
                Column(
                    "infinite", "count", [each.inf or None for each in stats], table=any(s.inf for s in stats)
                ),
                Column("the same as", "key", [each.twin for each in stats], table=False, search=True),
            ]
            large = sorted(range(len(refs)), key=lambda i: -refs[i].numel)[:_MOST_HISTOGRAMS]
            drawn = {i: h for i in large if (h := stats[i].histogram) is not None}
            plots = [Plot("values", {i: (h.low, h.high, h.counts) for i, h in drawn.items()})]
        return explorer_data(
            self.ckpt.part or "weights",
            [ref.name for ref in refs],
            [ref.shape for ref in refs],
            [ref.numel for ref in refs],
            views,
            columns,
            plots=plots,
        )


@dataclass(frozen=True, slots=True)
class MetadataSection:
    """What the file holds beside its weights."""

    ckpt: Checkpoint
    title: str = "Beside the weights"
    template: ClassVar[str] = "metadata.html"

    def view(self) -> Mapping[str, object]:
        """Keys by their paths, with their values."""
        rows, more = metadata_rows(self.ckpt.metadata)
        return {"rows": rows, "more": more}


def _values(refs: Sequence[TensorRef], stats: Mapping[str, TensorStats]) -> View:
    states = [State(each.key, each.word, each.symbol, each.meaning) for each in VALUE_STATES]
    return View("Values", states, [value_state(stats[ref.name], ref.dtype) for ref in refs])
