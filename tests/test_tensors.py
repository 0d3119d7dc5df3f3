"""A reference to a tensor: what it knows before anything is read, and what reading gives."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchgraft.tensors import DTYPE_BITS, Named, TensorRef

VALUE = torch.arange(24.0).reshape(4, 3, 2)


def ref(value: torch.Tensor = VALUE) -> TensorRef:
    return TensorRef(
        "x", tuple(value.shape), str(value.dtype).removeprefix("torch."), fetch=lambda index: value[index]
    )


@pytest.mark.parametrize("dtype", DTYPE_BITS)
def test_bits_are_pytorchs(dtype):
    theirs = getattr(torch, dtype)
    assert isinstance(theirs, torch.dtype)
    assert DTYPE_BITS[dtype] == 8 * theirs.itemsize


@given(st.lists(st.integers(0, 5), max_size=4), st.sampled_from(["float32", "bfloat16", "int64", "bool"]))
def test_sizes_are_pytorchs(shape, dtype):
    tensor = torch.empty(shape, dtype=getattr(torch, dtype))
    assert Named("x", tuple(shape), dtype).numel == tensor.numel()
    assert ref(tensor).nbytes == tensor.nbytes


INDICES = [..., None, 0, -1, slice(1, 3), slice(None, None, 2), (1, 2), (slice(None), 0), (..., 1), (0, None)]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_every_way_of_reading_is_pytorchs_index(index):
    for read in (ref().view(index), ref().read(index), ref()[index]):
        assert torch.equal(read, VALUE[index])
        assert read.shape == VALUE[index].shape


def test_all_of_it_by_default():
    assert torch.equal(ref().view(), VALUE)
    assert torch.equal(ref().read(), VALUE)


def test_a_view_shares_memory_and_a_read_does_not():
    value = torch.zeros(3)
    ref(value).read().fill_(1)
    ref(value)[1:].fill_(1)
    assert value.tolist() == [0, 0, 0]
    ref(value).view()[0] = 5
    assert value.tolist() == [5, 0, 0]


def test_nothing_is_read_by_looking():
    lazy = TensorRef("x", (2, 3), "float16", fetch=lambda _: pytest.fail("was read"), alias="here")
    assert (lazy.numel, lazy.nbytes, lazy.alias) == (6, 12, "here")
    assert repr(lazy) == "TensorRef(name='x', shape=(2, 3), dtype='float16')"
    assert lazy == TensorRef("x", (2, 3), "float16", fetch=lambda _: VALUE, alias="here")
    assert lazy != TensorRef("x", (3, 2), "float16", fetch=lambda _: VALUE, alias="here")


@pytest.mark.parametrize("field", ["name", "shape", "dtype", "fetch", "alias"])
def test_it_is_frozen(field):
    with pytest.raises(FrozenInstanceError):
        setattr(ref(), field, None)


def test_pytorch_comes_only_with_a_read():
    code = (
        "import sys; from torchgraft.tensors import TensorRef\n"
        "TensorRef('x', (2,), 'float32', fetch=lambda i: None).nbytes\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(st.lists(st.integers(0, 6), max_size=4), st.integers(1, 400))
def test_parts_are_all_of_it_in_order_and_small(shape, limit):
    value = torch.arange(float(torch.Size(shape).numel())).reshape(shape)
    whole = ref(value)
    parts = [whole.view(index) for index in whole.parts(limit)]
    assert torch.equal(torch.cat([part.reshape(-1) for part in parts]), value.reshape(-1))
    assert all(part.nbytes <= max(limit, 4) for part in parts)
    assert len(parts) <= max(1, -(-value.nbytes // limit) * 8)


def test_parts_of_a_huge_tensor_are_not_listed_one_element_at_a_time():
    huge = TensorRef("x", (3, 1 << 40), "float32", fetch=lambda index: torch.empty(0))
    first = next(iter(huge.parts(1 << 25)))
    assert first == (0, slice(0, 1 << 23))
