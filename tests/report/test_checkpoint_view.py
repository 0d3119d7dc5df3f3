import io
import re

from rich.console import Console

from torchgraft.checkpoint import Checkpoint, Part
from torchgraft.report.checkpoint_rows import dtype_totals, highlights, tensor_rows
from torchgraft.report.terminal import checkpoint_view
from torchgraft.tensors import TensorRef


def ref(name, shape, dtype="float32", alias=None):
    def never(index):
        raise AssertionError("showing a checkpoint reads no tensor")

    return TensorRef(name, shape, dtype, fetch=never, alias=alias)


def checkpoint() -> Checkpoint:
    refs = [ref("conv1.weight", (64, 3, 7, 7))]
    for i in range(3):
        refs += [ref(f"layer.{i}.weight", (64 * 2**i, 64)), ref(f"layer.{i}.bias", (64 * 2**i,))]
        refs += [ref(f"layer.{i}.count", (), "int64")]
    parts = (
        Part(
            "model", "weights", "named floating-point tensors", len(refs), 38_208, {"float32": 7, "int64": 3}
        ),
        Part(
            "ema", "copy", "the keys and shapes of model again", len(refs), 38_208, {"float32": 7, "int64": 3}
        ),
        Part("optimizer.state", "per-parameter state", "as an optimizer keeps", 4, 76_416, {"float32": 4}),
    )
    return Checkpoint(
        {one.name: one for one in refs},
        format="legacy torch file",
        part="model",
        parts=parts,
        why="the only weights that are no copy",
        metadata={
            "epoch": 90,
            "best_acc": 76.13,
            "args": {"lr": 0.1, "arch": "resnet18"},
            "milestones": [30, 60],
        },
        classes=("argparse.Namespace", "my_code.nets.Net"),
    )


def seen(view: object, width: int = 100) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None).print(view)
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip("\n").split("\n"))


GOLDEN = """\
weights in memory
  format   legacy torch file
  weights  model (the only weights that are no copy)

Parts
   part             tensors  elements  looks like
▸  model                 10    38.2 k  weights: named floating-point tensors
   ema                   10    38.2 k  copy: the keys and shapes of model again
   optimizer.state        4    76.4 k  per-parameter state: as an optimizer keeps

Beside the weights
  epoch       90
  best_acc    76.13
  args        2 entries: lr, arch
  milestones  30, 60

Unknown classes (not run)
  argparse.Namespace
  my_code.nets.Net

Tensors of “model”
  name                              shape                  dtype    elements
  conv1.weight                      [64, 3, 7, 7]          float32    9.41 k
  layer.{0...2}.{weight, bias}  ×6  [64…256, 64] [64…256]  float32    29.1 k
  layer.{0...2}.count           ×3  []                     int64           3

  7 tensors float32: 38.5 k elements, 150.5 KiB
  3 tensors int64: 3 elements, 24 bytes"""


def test_golden():
    assert seen(checkpoint_view(checkpoint())) == GOLDEN


def test_all_shows_every_tensor():
    text = seen(checkpoint_view(checkpoint(), all=True))
    for name in checkpoint():
        assert re.search(rf"^  {re.escape(name)} ", text, re.MULTILINE)


def test_hostile_text_steers_nothing():
    text = "\x1b[2J[bold]x[/]\r\u202e"
    hostile = Checkpoint(
        {text: ref(text, (1,))},
        format=text,
        part=text,
        parts=(
            Part(text, "weights", text, 1, 1, {"float32": 1}),
            Part("", "other", text, 1, 1, {"float32": 1}),
        ),
        why=text,
        metadata={text: text, "list": [text], "dict": {text: 1}, "odd": object},
        classes=(text,),
    )
    shown = seen(checkpoint_view(hostile), 200)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown)
    assert r"\x1b[2J[bold]x[/]\r\u202e" in shown


def test_tied_tensors_take_their_bytes_once():
    (total,) = dtype_totals([ref("a", (10,), alias="s"), ref("b", (10,), alias="s"), ref("c", (10,))])
    assert (total.tensors, total.numel, total.nbytes) == (3, 30, 80)


def test_rows_keep_dtypes_apart():
    rows = tensor_rows([ref("a.0.w", (2,)), ref("a.1.w", (3,)), ref("a.2.w", (4,), "float16")])
    assert [(row.name, row.shape, row.dtype) for row in rows] == [
        ("a.{0,1}.w", "[2…3]", "float32"),
        ("a.2.w", "[4]", "float16"),
    ]


def test_highlights_are_few():
    shown = highlights({f"key{i}": i for i in range(50)})
    assert len(shown) == 13
    assert shown[-1] == ("…", "38 more entries")


def test_an_empty_checkpoint_can_be_shown():
    assert "Tensors" in seen(checkpoint_view(Checkpoint({})))
