"""The one module that knows Hugging Face accelerate: device, processes, precision, gradient steps."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import nn

from torchgraft.anatomy.unsharded import is_sharded
from torchgraft.errors import TrainingError
from torchgraft.finetuning.processes import agreement, sharding, states
from torchgraft.finetuning.processes.failures import connection_broke
from torchgraft.finetuning.processes.launched import process_count
from torchgraft.finetuning.processes.running import Running
from torchgraft.finetuning.processes.shares import SharedLoader
from torchgraft.finetuning.requirements import require

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.utils.data import DataLoader

__all__ = ["Engine"]

T = TypeVar("T")

_PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others, such as while the first one downloads and reads."""

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_WORDS = {"no": "float32", "bf16": "bfloat16 where it is safe", "fp16": "float16 where it is safe"}


class Engine:
    """Runs a plain loop on whatever `torchrun` or accelerate's launcher and configuration chose.

    A batch is one batch on any number of processes: each does its share of it, and loss, gradients and batch
    statistics are those of the whole.

    Args:
        precision: `"no"`, `"bf16"` or `"fp16"`; `None`: as accelerate was told, else `"no"`.
        shard: Whether each process keeps a part of the parameters only (FSDP2); `None`: as accelerate was
            told. Of no matter with one process.

    Raises:
        TrainingError: There is no such precision.
    """

    def __init__(self, *, precision: str | None = None, shard: bool | None = None) -> None:
        self._accelerator = started()
        told = self._accelerator.mixed_precision
        self.precision = precision if precision is not None else told if told in _DTYPES else "no"
        if self.precision != "no" and self.precision not in _DTYPES:
            raise TrainingError(f"there is no precision {precision!r}", hint="one of: no, bf16, fp16")
        if shard is None:
            shard = os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
        self.shard = shard and self.processes > 1
        self._scaler = torch.amp.GradScaler(self.device.type) if self.precision == "fp16" else None
        self._running: Running | None = None
        self._became: dict[int, tuple[nn.Parameter, nn.Parameter]] = {}

    @property
    def accelerator(self) -> Any:
        """accelerate's own, for its trackers."""
        return self._accelerator

    @property
    def device(self) -> torch.device:
        """Where models and batches go."""
        return cast("torch.device", self._accelerator.device)

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes files and reports progress."""
        return self.rank == 0

    @property
    def rank(self) -> int:
        """This process's number, from 0."""
        return int(self._accelerator.process_index)

    @property
    def processes(self) -> int:
        """How many there are."""
        return int(self._accelerator.num_processes)

    def __str__(self) -> str:
        """What it runs on, in a line."""
        many = f"{self.processes} processes with a share of each batch, " if self.processes > 1 else ""
        parts = ", each with a part of the parameters" if self.shard else ""
        return f"{many}{self.device.type}, {_WORDS[self.precision]}{parts}"

    # What each process does

    def loader(self, loader: DataLoader[Any]) -> SharedLoader:
        """Gives this process its share of each batch, on the device; see there for what it yields."""
        return SharedLoader(loader, rank=self.rank, processes=self.processes, device=self.device)

    def model(self, model: nn.Module) -> Running:
        """The model for the training loop to call; called again, as after parameters were frozen.

        With `shard`, the model's parameters are others afterwards: see `current`.
        """
        trained = [id(p) for p in model.parameters() if p.requires_grad]
        if self._running is None or self._running.of != (id(model), trained):
            if self._running is None or self._running.of[0] != id(model):
                self._placed(model)
                trained = [id(p) for p in model.parameters() if p.requires_grad]
            self._running = Running(self, model, (id(model), trained))
        return self._running

    def current(self, parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
        """What the parameters of a model have become since `model` was called."""
        return [self._became.get(id(p), (p, p))[1] for p in parameters]

    def autocast(self) -> AbstractContextManager[Any]:
        """Inside, operations run in the lower precision where that is safe."""
        if self.precision == "no":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=_DTYPES[self.precision])

    @contextmanager
    def micro_batch(self, rows: int, *, last: bool = True) -> Iterator[None]:
        """Around the forward and backward pass of some images, of which `rows` count.

        Unless they are the `last` of a step, gradients are not yet put together.
        """
        assert self._running is not None
        with self._running.part(rows, last=last):
            yield

    def backward(self, part: torch.Tensor, *, penalty: torch.Tensor | None = None) -> None:
        """Add gradients.

        Args:
            part: What these images contribute to the loss of the whole step: over all micro-batches of all
                processes, the parts add up to it.
            penalty: Contributes as well; each process has it as a whole.
        """
        loss = part * self.processes if self.processes > 1 else part  # processes' gradients are averaged
        if penalty is not None:
            loss = loss + sharding.whole_tensor(penalty)
        if self._scaler is not None:
            loss = self._scaler.scale(loss)
        loss.backward()  # type: ignore[no-untyped-call]

    def step(self, optimizer: Optimizer, parameters: Iterable[nn.Parameter], clip: float | None) -> None:
        """One step with the gradients there are, of a norm of `clip` at most over all processes."""
        assert self._running is not None
        self._running.average()
        if self._scaler is not None:
            self._scaler.unscale_(optimizer)
        if clip is not None:
            nn.utils.clip_grad_norm_(parameters, clip)
        if self._scaler is not None:
            self._scaler.step(optimizer)
            self._scaler.update()
        else:
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def reseed(self, seed: int, step: int) -> None:
        """Start all random numbers from `seed` and `step`, in each process from other ones."""
        import numpy as np

        mixed = hash((seed, step, self.rank)) % 2**32
        # `torch.manual_seed` takes 2 ms, most of it for devices that there are none of.
        torch.default_generator.manual_seed(mixed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(mixed)
        elif self.device.type != "cpu":
            torch.manual_seed(mixed)
        random.seed(mixed)
        np.random.seed(mixed)

    # What they do together; all of them have to call these

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over the processes, without a gradient."""
        return agreement.summed(tensor, self.device)

    def any(self, wish: bool) -> bool:
        """Whether it is so in any process."""
        return bool(self.sum(torch.tensor([float(wish)])) > 0) if self.processes > 1 else wish

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows of all processes, however many each has."""
        return agreement.gathered(rows, self.device)

    def spread(self, tensors: Iterable[torch.Tensor]) -> None:
        """Give all processes the first one's values; what is in parts on the processes stays."""
        for tensor in tensors:
            if not is_sharded(tensor):
                agreement.spread(tensor, self.device)

    def first(self, find: Callable[[], T]) -> T:
        """What `find` gives in the first process, for all; an error there ends all with its message."""
        return agreement.first(find)

    def from_first(self, tensors: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """The first process's tensors, whatever others give; for them on the CPU."""
        if self.processes == 1:
            return tensors
        shapes = self.first(lambda: {name: (tuple(t.shape), t.dtype) for name, t in tensors.items()})
        found = {}
        for name, (shape, dtype) in shapes.items():
            found[name] = tensors[name] if self.main else torch.empty(shape, dtype=dtype)
            agreement.spread(found[name], self.device)
        return found

    def together(self) -> AbstractContextManager[None]:
        """Around what all do: an error in one ends all with its message. See `processes/agreement.py`."""
        return agreement.together()

    def wait(self) -> None:
        """Until every process has come here."""
        self._accelerator.wait_for_everyone()

    # What there is to save: whole, on the CPU, in the first process only

    def state(
        self, model: nn.Module, optimizer: Optimizer
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Model's and optimizer's tensors by name, such as `head.weight` and `head.weight/exp_avg`."""
        return (
            states.model_state(model, keep=self.main),
            states.optimizer_state(model, optimizer, keep=self.main),
        )

    def load_state(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        model_state: Mapping[str, torch.Tensor],
        optimizer_state: Mapping[str, torch.Tensor],
    ) -> None:
        """Put back what `state` gave, on this number of processes or another; the first one's is taken."""
        states.load_model_state(model, self.from_first(model_state))
        states.load_optimizer_state(model, optimizer, self.from_first(optimizer_state))

    def whole(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Copies of tensors that may be in parts."""
        return sharding.whole(tensors, keep=self.main)

    def whole_model(self, model: nn.Module) -> nn.Module | None:
        """The model as a whole in the first process, `None` in others."""
        return sharding.whole_model(model, keep=self.main)

    def scaler_state(self) -> dict[str, Any] | None:
        """Of float16's gradient scaling, if there is one."""
        return self._scaler.state_dict() if self._scaler is not None else None

    def load_scaler(self, state: dict[str, Any] | None) -> None:
        """Put it back."""
        if self._scaler is not None and state:
            self._scaler.load_state_dict(state)

    @contextmanager
    def released(self) -> Iterator[None]:
        """Around a run; afterwards nothing of this engine is left on the model, but parts stay parts."""
        try:
            yield
        except RuntimeError as error:
            if self.processes > 1 and connection_broke(error):
                raise TrainingError(
                    f"the connection to another process broke ({str(error).strip().splitlines()[0][:200]})",
                    hint="that one may have said why; go on from the last checkpoint with resume=True",
                ) from error
            raise
        finally:
            self._running = None
            self._became.clear()
            self._accelerator.free_memory()

    def _placed(self, model: nn.Module) -> None:
        """All processes begin with the same values, or with their part of them, if that is asked."""
        if self.processes == 1 or any(is_sharded(parameter) for parameter in model.parameters()):
            return
        self.spread([*model.parameters(), *model.buffers()])
        if self.shard:
            before = dict(model.named_parameters())
            sharding.shard(model, self.device)
            after = dict(model.named_parameters())
            self._became = {id(parameter): (parameter, after[name]) for name, parameter in before.items()}
            for parameter in before.values():
                parameter.data = parameter.data.new_empty(0)  # others may hold it still, and all its memory


def started() -> Any:
    """An `Accelerator`; if a launcher started several processes, these have met afterwards.

    Raises:
        TrainingError: They have not.
    """
    require("accelerate")
    from accelerate import Accelerator, InitProcessGroupKwargs, PartialState

    wanted = process_count()
    # On a machine without GPUs, accelerate takes the processes of `torchrun` for so many runs of their own,
    # unless it is told that the CPU is meant.
    on_cpu = wanted > 1 and not PartialState._shared_state and _no_gpu()  # noqa: SLF001 (asking makes it)
    patience = InitProcessGroupKwargs(timeout=_PATIENCE)
    accelerator = Accelerator(cpu=on_cpu, kwargs_handlers=[patience])
    if accelerator.num_processes != wanted:
        raise TrainingError(
            f"{wanted} processes were started, but accelerate knows of {accelerator.num_processes}",
            hint="call torchgraft before accelerate, or start accelerate with Accelerator(cpu=True)",
        )
    return accelerator


def _no_gpu() -> bool:
    found = torch.accelerator.current_accelerator(check_available=True)
    return found is None or found.type == "mps"  # which can't talk to other processes
