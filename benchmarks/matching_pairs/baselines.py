"""What people do today: exact names, the longest suffix, order and shape; and the peer, `weightbridge`.

Each gives the values for the target's names, or refuses. All get the weights as a flat dict.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from matching_pairs.judge import Case, Refused
from matching_pairs.pairs import State
from matching_pairs.weights import write

__all__ = ["BASELINES"]

LIMIT = 60  # seconds that weightbridge gets for a pair


def exact(source: State, target: State, _: Case) -> State:
    return {
        name: source[name] for name in target if name in source and source[name].shape == target[name].shape
    }


def suffix(source: State, target: State, _: Case) -> State:
    """As detectron2's: the longest of the checkpoint's names that ends a name of the model at a dot."""
    found: State = {}
    for name, tensor in target.items():
        parts = name.split(".")
        for start in range(len(parts)):
            value = source.get(".".join(parts[start:]))
            if value is not None:
                if value.shape == tensor.shape:
                    found[name] = value
                break
    return found


def order(source: State, target: State, _: Case) -> State:
    """One after the other, as long as the shapes agree."""
    ours = {name: tensor for name, tensor in target.items() if not name.endswith("num_batches_tracked")}
    theirs = {name: tensor for name, tensor in source.items() if not name.endswith("num_batches_tracked")}
    if len(ours) != len(theirs):
        raise Refused(f"{len(theirs)} tensors for {len(ours)}")
    for (there, value), (here, tensor) in zip(theirs.items(), ours.items(), strict=True):
        if value.shape != tensor.shape:
            raise Refused(f"{there} {list(value.shape)} is not of the shape of {here} {list(tensor.shape)}")
    return dict(zip(ours, theirs.values(), strict=True))


def weightbridge(source: State, target: State, case: Case) -> State:
    """In a process of its own, for as long as LIMIT; first as PyTorch's layout, then as TensorFlow's."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_bridge, args=(source, target, case, sender))
    process.start()
    sender.close()
    try:
        if not receiver.poll(LIMIT):
            raise Refused(f"no answer in {LIMIT} s")
        answer = receiver.recv()
    except EOFError:
        raise Refused("the process died") from None
    finally:
        process.kill()
        process.join()
    if isinstance(answer, str):
        raise Refused(answer)
    return {name: torch.from_numpy(np.asarray(value)) for name, value in answer.items()}


def _bridge(source: State, target: State, case: Case, sender: Any) -> None:
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # it prints every name of both sides
    os.dup2(silence, 2)
    import weightbridge as peer

    arrays = [
        {name: tensor.numpy() for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
        for state in (source, target)
    ]
    partly = case.truth is not None or case.pair.family in ("partial overlap", "wrappers")
    options = {
        "ignore_unmatched_inputs": partly,
        "ignore_unmatched_outputs": bool(case.pair.arguments.get("allow_fresh")),
    }
    said = ""
    for layouts in ({}, {"in_format": "tensorflow", "out_format": "pytorch"}):
        try:
            return sender.send(peer.adapt(*arrays, **options, **layouts))
        except BaseException as error:
            said = said or f"{type(error).__name__}: {error}"
    return sender.send(said[:2000])


def _held_tensors(held: Any) -> State:
    """What the user holds as a flat dict; of a file, what numpy or h5py list."""
    if isinstance(held, Mapping):
        return dict(held)
    if Path(held).suffix == ".npz":
        return {name: torch.from_numpy(value) for name, value in np.load(held).items()}
    if Path(held).suffix in (".h5", ".hdf5"):
        import h5py

        found: State = {}
        with h5py.File(held) as file:
            file.visititems(
                lambda name, item: (
                    found.__setitem__(name, torch.from_numpy(np.asarray(item)))
                    if isinstance(item, h5py.Dataset) and item.dtype.kind == "f"
                    else None
                )
            )
        return found
    if Path(held).suffix == ".safetensors":
        return load_file(held)
    if Path(held).suffix == ".keras":
        raise Refused("a .keras archive is no flat list of tensors")
    loaded = torch.load(held, map_location="cpu", weights_only=True)
    return {name: tensor for name, tensor in loaded.items() if isinstance(tensor, torch.Tensor)}


def _method(pair_up: Callable[[State, State, Case], State]) -> Callable[[Case], tuple[float, list[str]]]:
    def load(case: Case) -> tuple[float, list[str]]:
        source, target = _held_tensors(case.held), case.before
        began = time.perf_counter()
        found = pair_up(source, target, case)
        taken = time.perf_counter() - began
        may_stay = case.pair.arguments.get("allow_fresh") or ()
        may_stay = (may_stay,) if isinstance(may_stay, str) else may_stay
        heads = ("*head*", "fc.*", "*classifier*") if "head" in may_stay else ()
        missing = [
            name
            for name, tensor in target.items()
            if name not in found
            and tensor.is_floating_point()
            and not any(fnmatchcase(name, pattern) for pattern in (*may_stay, *heads))
            and not (case.truth is not None and _is_head(case, name))
        ]
        if missing:
            raise Refused(f"{len(missing)} of the model's tensors are missing, as {missing[0]}")
        write(case.target, found)
        return taken, []

    return load


def _is_head(case: Case, name: str) -> bool:
    """A head of other classes needs no declaration from us either."""
    assert case.truth is not None
    return name not in case.truth and any(word in name for word in ("head", "fc.", "classifier"))


BASELINES = {
    "exact": _method(exact),
    "suffix": _method(suffix),
    "order+shape": _method(order),
    "weightbridge": _method(weightbridge),
}
