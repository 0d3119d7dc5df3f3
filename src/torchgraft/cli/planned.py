"""What `plan` and `graft` have in common: the plan, made from their options and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchgraft.cli.models import bare_model
from torchgraft.cli.output import Output
from torchgraft.cli.pages import written
from torchgraft.report.statuses import gate_advice

if TYPE_CHECKING:
    from torch import nn

    from torchgraft.planning import Plan

__all__ = ["Planned", "make_plan"]


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, the model it is for, and where its page is wanted."""

    model: nn.Module
    plan: Plan
    html: Path | None = None

    def write_page(self, output: Output) -> None:
        """Write the page, if one is wanted."""
        if self.html is not None:
            from torchgraft.report.writing import page_of

            written(page_of(self.plan), self.html, output)

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
            **({} if self.html is None else {"report": str(self.html)}),
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
    return Planned(built, plan, html)
