"""Protocol Buffers messages, walked in place: compared with the protobuf package, and damaged ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.internal import decoder, encoder
from hypothesis import given
from hypothesis import strategies as st

from torchgraft.errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats.onnx import protobuf
from torchgraft.formats.onnx.protobuf import BYTES, FIXED32, FIXED64, VARINT, Field, Message, varint


class Bytes:
    path: Path | None = None

    def __init__(self, data: bytes) -> None:
        self.name, self.size, self.data = "some file", len(data), data

    def view(self, offset: int, length: int) -> memoryview:
        assert 0 <= offset <= offset + length <= self.size
        return memoryview(bytearray(self.data[offset : offset + length]))


def walk(data: bytes) -> list[Field]:
    return list(Message(Bytes(data)).fields(0, len(data), "some file: x"))


@given(st.integers(0, (1 << 64) - 1))
def test_varints_are_as_the_package_writes_them(number: int) -> None:
    raw = encoder._VarintBytes(number)
    assert varint(raw, 0) == (number, len(raw)) == decoder._DecodeVarint(raw, 0)
    assert varint(b"xx" + raw + b"x", 2) == (number, 2 + len(raw))
    assert varint(raw[:-1], 0)[1] < 0


@pytest.mark.parametrize("raw", [b"", b"\x80", b"\xff" * 10, b"\xff" * 9 + b"\x02", b"\x80" * 10 + b"\x01"])
def test_varints_that_do_not_end_or_are_too_large(raw: bytes) -> None:
    assert varint(raw, 0)[1] < 0


def test_every_wire_type() -> None:
    data = (
        b"\x08\x96\x01"
        + b"\x11"
        + bytes(8)
        + b"\x1a\x03abc"
        + b"\x25"
        + bytes(4)
        + b"\x28"
        + b"\xff" * 9
        + b"\x01"
    )
    fields = walk(data)
    assert [(f.number, f.wire, f.end - f.start) for f in fields] == [
        (1, VARINT, 2), (2, FIXED64, 8), (3, BYTES, 3), (4, FIXED32, 4), (5, VARINT, 10),
    ]  # fmt: skip
    assert fields[0].value == 150
    assert data[fields[2].start : fields[2].end] == b"abc"
    assert fields[4].signed == -1


@pytest.mark.parametrize(
    "data",
    [
        b"\x08", b"\x80", b"\x00\x00", b"\x0a\x05abc",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x0d\x00",
        b"\x09\x00", b"\x0b\x0c", b"\x0e", b"\x0f", b"\x08" + b"\xff" * 11, b"\xff" * 11, b"\x0a",
    ],
    ids=lambda data: data[:8].hex(),
)  # fmt: skip
def test_damaged_messages_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptCheckpointError, match="some file: x") as caught:
        walk(data)
    assert caught.value.hint
    with pytest.raises(CorruptCheckpointError):
        walk(b"\x08\x01" + data)


def test_a_message_ends_where_it_is_said_to(tmp_path: Path) -> None:
    data = b"\x0a\x03abc"
    with pytest.raises(CorruptCheckpointError):
        list(Message(Bytes(data)).fields(0, 4, "x"))


def test_endless_fields_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protobuf, "_MAX_FIELDS", 1000)
    with pytest.raises(UnsafeCheckpointError, match="1,000 parts"):
        walk(b"\x08\x01" * 997)


def test_texts() -> None:
    data = b"\x0a\x04w\xc3\xb6g" + b"\x12\x02\xff\xfe" + b"\x1a\xc0\x84\x3d" + "ö".encode() * 500_000
    message = Message(Bytes(data[:-32]))
    fields = list(message.fields(0, 10, "x"))
    assert message.text(fields[0], "x") == "wög"
    with pytest.raises(CheckpointError, match="UTF-8"):
        message.text(fields[1], "x")
    with pytest.raises(CorruptCheckpointError, match="wire type"):
        message.text(Field(1, VARINT, 3, 0, 1), "x")
    long = message.text(Field(3, BYTES, 0, 14, 900_000), "x")
    assert long.endswith("ö…")
    assert len(long) < 1 << 16


class Counted(Bytes):
    loaded = 0

    class Source:
        def __init__(self, data: bytes, owner: Counted) -> None:
            self.bytes, self.owner = data, owner

        def __len__(self) -> int:
            return len(self.bytes)

        def __getitem__(self, place: slice) -> bytes:
            found = self.bytes[place]
            self.owner.loaded += len(found)
            return found

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = self.Source(data, self)  # type: ignore[assignment]


def test_passing_over_large_values_does_not_load_them() -> None:
    data = (b"\x0a" + encoder._VarintBytes(1 << 20) + bytes(1 << 20)) * 20
    file = Counted(data)
    assert len(list(Message(file).fields(0, len(data), "x"))) == 20
    assert file.loaded < 20 * 10_000


def test_many_small_fields_take_few_loads() -> None:
    data = b"\x08\x01" * 200_000
    file = Counted(data)
    assert len(list(Message(file).fields(0, len(data), "x"))) == 200_000
    assert file.loaded < 1.1 * len(data)
