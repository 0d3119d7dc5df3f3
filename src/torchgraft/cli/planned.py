"""What `plan` and `graft` have in common: the plan, made from their options and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchgraft.cli.models import bare_model
from torchgraft.report.quantities import percent
from torchgraft.report.statuses import gate_advice

if TYPE_CHECKING:
    from torch import nn

    from torchgraft.planning import Plan

__all__ = ["Planned", "make_plan"]


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan and the model it is for."""

    model: nn.Module
    plan: Plan

    def data(self) -> Mapping[str, object]:
        """What `--json` prints."""
        verdict, advice = gate_advice(self.plan)
        return {
            "plan": self.plan.to_json(),
            "gate": {
                "open": advice is None,
                "verdict": verdict,
                "advice": advice,
                "undeclared": [entry.name for entry in self.plan.undeclared],
            },
        }


def make_plan(
    model: str,
    checkpoint: str,
    *,
    seed: int,
    select: str | None,
    labels: Path | None,
    source_labels: Path | None,
    in_channels: int | None,
    num_classes: int | None,
    class_map: Any,
    in_mode: str,
    html: Path | None,
    **options: Any,
) -> Planned:
    """Open the checkpoint first (it is what usually goes wrong), build the model, make the plan."""
    import torchgraft as tg
    from torchgraft.adapting import class_names, parse_in_mode

    names, source_names = (
        tg.read_labels(path) if path is not None else None for path in (labels, source_labels)
    )
    mode = parse_in_mode(in_mode)
    opened = tg.open(checkpoint, select=select)
    named = class_names(class_map, names)
    if named is None and num_classes is None and isinstance(class_map, list):
        num_classes = len(class_map)
    built = bare_model(model, seed=seed, in_channels=in_channels, num_classes=num_classes, labels=named)
    plan = tg.plan(
        built, opened, in_mode=mode, labels=named, source_labels=source_names, class_map=class_map, **options
    )
    if html is not None:
        _write_page(plan, html)
    return Planned(built, plan)


def _write_page(plan: Plan, path: Path) -> None:
    from torchgraft.report.page import Figure, GraftSection, Page, write_html

    counts = plan.counts
    figures = (
        Figure(percent(plan.coverage), "of the model comes from the checkpoint"),
        *(Figure(f"{counts[status]:,}", f"tensors {status}") for status in ("loaded", "adapted", "fresh")),
    )
    write_html(
        Page(f"{plan.checkpoint} into {plan.model}", "", (GraftSection(plan),), figures),
        path,
    )
