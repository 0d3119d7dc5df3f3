"""The plan: for every tensor of the model and of the checkpoint what happens, and why."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from torchgraft.errors import AdaptError
from torchgraft.planning.declared import parts_of
from torchgraft.planning.entries import SourceEntry, TargetEntry
from torchgraft.storage.identity import identity_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    from torchgraft.planning.applying import Binding, GraftReport
    from torchgraft.planning.building import Weights
    from torchgraft.planning.optimizer_state import OptimizerState
    from torchgraft.planning.restoring import Restored

__all__ = ["Plan"]


@dataclass
class Plan:
    """A dry run: print it, save it as JSON, change it with `set`, apply it.

    Attributes:
        model: The model's class name.
        checkpoint: Where the weights come from, in words (usually the path).
        match: How names were paired, in words, such as `"prefix 'module.' removed"`.
        targets: One entry for each tensor of the model's state dict, in its order.
        sources: One entry for each tensor of the checkpoint, in its order.
        notes: What else a reader should know, one line each.
        doubts: What weak evidence alone decided (the place in a row, the last layer), one line each: look at
            these first.
    """

    model: str
    checkpoint: str
    match: str
    targets: tuple[TargetEntry, ...]
    sources: tuple[SourceEntry, ...]
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    binding: Binding | None = field(default=None, repr=False, compare=False)

    @property
    def counts(self) -> dict[str, int]:
        """How many tensors are `loaded`, `adapted`, `fresh`, `used` and `unused`."""
        found: Counter[str] = Counter(entry.status for entry in self.targets)
        found.update(entry.status for entry in self.sources)
        return {status: found[status] for status in ("loaded", "adapted", "fresh", "used", "unused")}

    @property
    def coverage(self) -> float:
        """Share of the model's elements that come from the checkpoint, 0 to 1."""
        total = sum(entry.numel for entry in self.targets)
        covered = sum(entry.numel for entry in self.targets if entry.status != "fresh")
        return covered / total if total else 0.0

    @property
    def undeclared(self) -> tuple[TargetEntry, ...]:
        """The fresh tensors that nobody declared: what the gate refuses. Empty means it may be applied."""
        return tuple(entry for entry in self.targets if entry.status == "fresh" and not entry.declared)

    @property
    def undeclared_parts(self) -> tuple[str, ...]:
        """The same as the fewest module paths or names, as `allow_fresh` takes them."""
        names = [entry.name for entry in self.undeclared]
        return parts_of(names, [entry.name for entry in self.targets])

    @property
    def summary(self) -> str:
        """One line: how many tensors of the model are loaded, adapted and fresh."""
        n = self.counts
        text = (
            f"{n['loaded']} loaded, {n['adapted']} adapted, {n['fresh']} fresh of {len(self.targets)} tensors"
        )
        unused = (
            f"{n['unused']} of the checkpoint's {len(self.sources)} unused" if n["unused"] else "all used"
        )
        return f"{text} ({self.coverage:.1%} of the elements); {unused}"

    @property
    def provenance(self) -> dict[str, str]:
        """Where the weights come from, for the model that gets them to remember (`ModelInfo.weights`)."""
        known = {"source": self.checkpoint, "matched by": self.match, "summary": self.summary}
        if self.binding is None:
            return known
        checkpoint = self.binding.checkpoint
        form = {"format": checkpoint.format} if checkpoint.format else {}
        return known | form | (identity_of(checkpoint.path) if checkpoint.path is not None else {})

    def __str__(self) -> str:
        lines = [f"{self.model} ← {self.checkpoint}", f"  matched by {self.match}", f"  {self.summary}"]
        lines += [
            f"  {entry.status}: {entry.name} {list(entry.shape)}: {entry.why}"
            + (f" ({entry.effect})" if entry.effect else "")
            for entry in self.targets
            if entry.status != "loaded"
        ]
        lines += [
            f"  unused: {entry.name}: {entry.why}" for entry in self.sources if entry.status == "unused"
        ]
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  doubt: {doubt}" for doubt in self.doubts]
        refused = len(self.undeclared)
        undeclared = "tensor is" if refused == 1 else "tensors are"
        lines.append(
            f"  refused: {refused} fresh {undeclared} not declared" if refused else "  ready to apply"
        )
        return "\n".join(lines)

    def __iter__(self) -> Iterator[TargetEntry]:
        return iter(self.targets)

    def apply(self, *, device: torch.device | str | None = None, for_training: bool = False) -> GraftReport:
        """Write the weights into the model, all or nothing.

        Of a tensor that is spread over processes (`fully_shard`, tensor parallelism: a `DTensor`) each
        process reads and holds its own part. None waits for the others.

        Args:
            device: Where the tensors of a model on the meta device are made, each straight from the file in
                the dtype that it has there (`model.to(torch.bfloat16)` costs nothing on the meta device).
                By default where the weights are, or a spread model's processes compute. A tensor that has a
                device keeps it.
            for_training: Say so if all of a model on the meta device will be written to: the file is read
                into its memory in one go. Else it is mapped, which takes next to no time: a part is read when
                it is touched and copied when it is written to, and the file never changes. While the model is
                used, replace the file (`torchgraft.save` does) rather than write over it.

        Raises:
            CoverageError: Undeclared tensors would stay fresh. The model is untouched.
            CheckpointError: A tensor can't be read, or is not what the plan says. The model is untouched.
            ModelError: The plan is not bound, or the model is not what the plan says, or can't be written
                to. It is untouched.
        """
        from torchgraft.planning.applying import apply_plan

        return apply_plan(self, device, for_training=for_training)

    def set(self, name: str, *, mode: object = None, fresh: bool = False) -> Plan:
        """Change what happens to a tensor, before the plan is applied.

        Args:
            name: A tensor's name, a module's path, or a pattern with `*`.
            mode: Another mode for the step that changes it, such as `"zeros"` for a first layer's new
                channels.
            fresh: Leave it as it is in the model, and declare that for the gate.

        Returns:
            The same plan.

        Raises:
            ModelError: There is no such tensor.
            AdaptError: Nothing is done to it in a mode, or there is no such mode.
        """
        from torchgraft.planning import editing

        if mode is None and not fresh:
            raise AdaptError("nothing to change", where=name, hint="give mode=… or fresh=True")
        targets = self.targets
        if mode is not None:
            targets = editing.in_mode(targets, name, mode)
        if fresh:
            targets = editing.left_fresh(targets, name)
        self.targets, self.sources = targets, editing.without_takers(self.sources, targets)
        return self

    def bind(self, model: nn.Module, checkpoint: Weights) -> Plan:
        """The same plan for this model and these weights, given as to `plan`; `apply` checks that they fit.

        Raises:
            CheckpointError: The checkpoint can't be read.
        """
        from torchgraft.planning.applying import Binding
        from torchgraft.planning.building import as_checkpoint

        return replace(self, binding=Binding(model, as_checkpoint(checkpoint)))

    def restore(self, trained: Weights, *, base: Weights | None = None) -> Restored:
        """The inverse of `apply`: the model's weights in the checkpoint's names, shapes, order and dtypes.

        What was split is joined again, what was joined is split, transposed kernels are turned back. If
        nothing was changed, every tensor that the plan used is the checkpoint's, bit for bit.

        Args:
            trained: The model, its state dict, or a file of it.
            base: The checkpoint, for what the model does not hold: tensors that the plan did not use, rows
                of classes that were not carried over. By default the one that the plan is bound to; with
                none, such tensors are left out. Notes say which they are. A tensor is left out, too, where a
                step can't be undone: an input layer whose new channels have been trained.

        Returns:
            A mapping from names to tensors, with `notes`.

        Raises:
            ModelError: These are not the model's weights, or two tensors that were filled from one hold
                different values by now.
            CheckpointError: A file can't be read, or `base` is another checkpoint.
        """
        from torchgraft.planning.building import as_checkpoint
        from torchgraft.planning.restoring import restore

        origin = self.binding.checkpoint if self.binding is not None else None
        return restore(self, as_checkpoint(trained), origin if base is None else as_checkpoint(base))

    def optimizer_state(
        self,
        optimizer: torch.optim.Optimizer,
        state: Mapping[str, Any] | str | os.PathLike[str] | None = None,
        *,
        param_names: Sequence[str] | None = None,
        settings: Literal["checkpoint", "optimizer"] = "checkpoint",
    ) -> OptimizerState:
        """What an optimizer kept of the checkpoint's parameters, for the parameters of the model.

        Momentum, Adam's moments and what else an optimizer keeps for each element go through the renames and
        steps of the plan. An element that is moved, copied or scaled keeps what was kept of it, to the bit;
        one that is made of several gets their average; a new one gets 0, and for the size of its steps
        (`exp_avg_sq`) the mean of the others. Counters stay. A fresh tensor has no past, nor has one that
        was resampled, for whose elements there are no old ones.

        Args:
            optimizer: Of the model that the plan is bound to, made after the plan was applied; of the class
                that was saved. It is not changed.
            state: The old optimizer's `state_dict()`, or the file that holds it, or its path in the
                checkpoint's file. By default the one in the checkpoint's file.
            param_names: The checkpoint's names of the old optimizer's parameters, in its order. They are
                known if it was made with names (`named_parameters()`), and from shapes if it had all the
                model's parameters in one group.
            settings: Whose learning rate, betas and so on are kept: the `"checkpoint"`'s, as
                `load_state_dict` does, or the new `"optimizer"`'s.

        Returns:
            `optimizer.load_state_dict(result.state_dict)` takes it; it also says what starts anew.

        Raises:
            ModelError: It can't be told which parameter is which, the state is another optimizer's, or
                it is of a kind that can't be carried along, such as Adafactor's rows and columns.
            CheckpointError: There is no such state.
        """
        from torchgraft.planning.optimizer_state import optimizer_state

        return optimizer_state(self, optimizer, state, param_names, settings)

    def python(self) -> str:
        """A Python module whose `convert(source)` does the same with a state dict and needs only PyTorch.

        For a code base that should not depend on torchgraft. `convert` leaves dtypes as they are in the
        checkpoint (`load_state_dict` casts); a tensor that keeps a part of the model's own is left out, and
        the module says so.
        """
        from torchgraft.planning.script import script

        return script(self)

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file: everything but the model and the weights."""
        from torchgraft.planning.plan_json import plan_to_json

        return plan_to_json(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """The inverse of `to_json`; `bind` it before it is applied."""
        from torchgraft.planning.plan_json import plan_from_json

        return plan_from_json(data)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as a JSON file."""
        from torchgraft.storage.atomic import write_text_atomic

        write_text_atomic(path, json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Plan:
        """Read a plan that `save` wrote; `bind` it before it is applied."""
        from torchgraft.planning.plan_json import read_plan

        return read_plan(path)
