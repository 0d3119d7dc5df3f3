"""Files that are taken for checkpoints: what they are, and how to get to the weights from there."""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["identify", "identify_zip"]

_AGAIN = "download the file itself again; the address may lead to a web page"
_EXPORT = "load it where it came from and save its weights as a dict with torch.save or safetensors"
_UNPACK = "unpack it and open the file inside"

_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (
        b"version https://git-lfs",
        "a Git LFS pointer, a note of where the data is",
        "fetch the data: git lfs pull",
    ),
    (b"\x1f\x8b", "gzip-compressed", "gunzip it and open the file inside"),
    (b"BZh", "bzip2-compressed", "bunzip2 it and open the file inside"),
    (b"\xfd7zXZ\x00", "xz-compressed", "unxz it and open the file inside"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed", "unzstd it and open the file inside"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"%PDF", "a PDF document", _AGAIN),
    (b"\x89PNG", "a PNG image", _AGAIN),
    (b"\xff\xd8\xff", "a JPEG image", _AGAIN),
    (b"\x7fELF", "a program or library", _AGAIN),
)


def identify(head: bytes) -> tuple[str, str]:
    """What a file that begins so is, and the next step."""
    for magic, what, hint in _MAGIC:
        if head.startswith(magic):
            return what, hint
    if head[257:262] == b"ustar":
        return "a tar archive", _UNPACK
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model", _EXPORT
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page (HTML)", _AGAIN
    if start.startswith(b"<?xml"):
        return "an XML document", _AGAIN
    if start.startswith((b"{", b"[")) and _is_text(head):
        return "a JSON text", "open the weights beside it; an index names them"
    if not head.strip(b"\0"):
        return "nothing but zero bytes", "the download or copy broke off: repeat it"
    if _is_text(head):
        return f"a text that begins {head[:40].decode('utf-8', 'replace')!r}", _AGAIN
    return (
        f"a file of unknown format that begins {head[:8].hex(' ')}",
        "torch.save and safetensors files can be opened",
    )


def identify_zip(names: Collection[str]) -> tuple[str, str] | None:
    """What a zip archive with these entries is; `None` if it may be one that is read."""
    inside = [rest for name in names if not (rest := name.partition("/")[2] or name).startswith("data/")]
    if "constants.pkl" in inside and "data.pkl" in inside:
        return None
    if any(name == "constants.pkl" or name.startswith("code/") for name in inside):
        hint = 'torch.save(torch.jit.load("…", map_location="cpu").state_dict(), "weights.pth")'
        return "a TorchScript archive of a form that is not known", hint
    if {"data.pkl", "model.weights.h5", "model.weights.npz"} & {*inside} or any(
        name.endswith(".npy") for name in inside
    ):
        return None
    if any(name.endswith(("_weights_config.json", "serialized_state_dict.pt")) for name in names):
        return None
    if any(name.startswith("models/") or name == "archive_format" for name in inside):
        return (
            "an exported program (torch.export) of a form that is not known",
            'torch.save(torch.export.load("…").state_dict, "weights.pth")',
        )
    if any(name.endswith((".pth", ".pt", ".bin", ".safetensors", ".ckpt")) for name in inside):
        return "a zip archive with checkpoints inside", _UNPACK
    return "a zip archive without torch.save's data.pkl", "unpack it and look inside"


def _is_text(head: bytes) -> bool:
    try:
        text = head[: len(head) - 3 if len(head) > 8 else None].decode("utf-8", "ignore")
    except UnicodeDecodeError:
        return False
    return (
        bool(text)
        and len(text.encode()) >= 0.99 * (len(head) - 3)
        and all(c.isprintable() or c.isspace() for c in text)
    )
