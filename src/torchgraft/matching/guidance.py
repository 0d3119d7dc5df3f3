"""What the user says about matching, and whom to ask where names and shapes are not enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from torchgraft.matching.flow import FlowOf

__all__ = ["Guidance", "Mode"]

Mode: TypeAlias = Literal["auto", "exact", "order"]


@dataclass(frozen=True, slots=True)
class Guidance:
    """How to decide.

    Attributes:
        mode: Which evidence may be used; see `match`.
        fused: What a component of a name is fused from, where the name does not say: `{"fc1": "gate+up"}`.
        flow_of: Runs the model; `None` if there is none to run.
    """

    mode: Mode = "auto"
    flow_of: FlowOf | None = None
    fused: Mapping[str, str] = field(default_factory=dict)
