"""The architecture, read off the imports: a room imports only from rooms under it; and other house rules."""

from __future__ import annotations

import ast
import re
import runpy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import torchgraft

ROOT = Path(torchgraft.__file__).parent

ROOMS = [
    "cli",
    "demo",
    "viewing",
    "report",
    "exporting",
    "verifying",
    "finetuning",
    "zoo",
    "saving",
    "planning",
    "matching",
    "surgery",
    "anatomy",
    "adapting",
    "comparing",
    "measuring",
    "checkpoint",
    "formats",
    "storage",
    "labels",
    "tokens",
    "tensors",
    "model_info",
    "errors",
]
"""From the top of DESIGN.md's list to its bottom."""

OUTSIDE = {"cli", "demo"}
"""They use the library as a user does: `import torchgraft as tg`."""


@dataclass(frozen=True)
class Import:
    """One module imported by another.

    Attributes:
        name: What is imported, dotted.
        typing: Whether only type checkers see it.
        late: Whether it happens inside a function, when that is called.
    """

    name: str
    typing: bool
    late: bool


def imports(text: str, modules: frozenset[str] = frozenset()) -> list[Import]:
    """All imports of a module's text. `from a import b` is `a.b` if that is one of `modules`, else `a`."""
    return list(_walk(ast.parse(text), modules, typing=False, late=False))


def _walk(node: ast.AST, modules: frozenset[str], *, typing: bool, late: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, typing, late) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute here"
            names = {f"{child.module}.{alias.name}" for alias in child.names}
            yield from (
                Import(name if name in modules else str(child.module), typing, late) for name in names
            )
        else:
            guarded = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _walk(child, modules, typing=typing or guarded, late=late or inside)


def _name(path: Path) -> str:
    parts = ("torchgraft", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


FILES = {_name(path): path for path in sorted(ROOT.rglob("*.py"))}


@cache
def imports_of(module: str) -> list[Import]:
    return imports(FILES[module].read_text(encoding="utf-8"), frozenset(FILES))


def room(module: str) -> str:
    """The first word under `torchgraft`; empty for the package itself."""
    return f"{module}.".split(".")[1]


def test_imports_are_read_right():
    text = (
        "import a.b, c\nfrom d import e, f\nif TYPE_CHECKING:\n    from g import h\n"
        "def x():\n    import i\n    from d import e\nclass C:\n    import j\n"
    )
    found = {(i.name, i.typing, i.late) for i in imports(text, frozenset({"d.e"}))}
    assert found == {
        ("a.b", False, False),
        ("c", False, False),
        ("d.e", False, False),
        ("d", False, False),
        ("g", True, False),
        ("i", False, True),
        ("d.e", False, True),
        ("j", False, False),
    }


def test_every_module_is_in_a_room_of_the_list():
    assert {room(module) for module in FILES} - {"", "__main__"} == set(ROOMS)


@pytest.mark.parametrize(
    ("heading", "listed"),
    [
        ("# Architecture", ROOMS),
        (
            "### Inside `finetuning/`",
            sorted(path.parent.name for path in (ROOT / "finetuning").glob("*/__init__.py")),
        ),
    ],
)
def test_the_architecture_page_lists_them_all(heading, listed):
    page = (Path(__file__).parent.parent / "docs" / "architecture.md").read_text("utf-8")
    section = f"\n{page}".partition(f"\n{heading}\n")[2].partition("\n#")[0]
    rows = re.findall(r"^\| (`[^|]+`) \|", section, re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`(\w+)(?:/|\.py)`", row)]
    assert (names if heading.startswith("# ") else sorted(names)) == listed


def test_the_architecture_is_drawn_as_its_script_says():
    docs = Path(__file__).parent.parent / "docs"
    drawn = (docs / "images" / "architecture.svg").read_text("utf-8")
    assert drawn == runpy.run_path(str(docs / "make_architecture_image.py"))["drawing"]()
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"demo"}
    assert {name for name in packages if name not in drawn} == set()


@pytest.mark.parametrize("here", ROOMS)
def test_a_room_imports_only_from_rooms_under_it(here):
    under = {*ROOMS[ROOMS.index(here) :], *({""} if here in OUTSIDE else ())}
    above = {
        f"{module} imports {found.name}"
        for module in FILES
        if room(module) == here
        for found in imports_of(module)
        if found.name.split(".")[0] == "torchgraft" and room(found.name) not in under
    }
    # the version is a constant of the package's first lines, and brings nothing with it
    allowed = {f"{module} imports torchgraft" for module in FILES if _only_the_version(module)}
    assert above - allowed == set()


def _only_the_version(module: str) -> bool:
    nodes = ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8")))
    from_package = [n for n in nodes if isinstance(n, ast.ImportFrom) and n.module == "torchgraft"]
    return {alias.name for node in from_package for alias in node.names} == {"__version__"}


@pytest.mark.parametrize("leaf", ["errors", "model_info", "tensors"])
def test_a_leaf_imports_no_room(leaf):
    assert [i.name for i in imports_of(f"torchgraft.{leaf}") if i.name.startswith("torchgraft")] == []


def test_nothing_imports_the_command_line():
    importers = {m for m in FILES for i in imports_of(m) if i.name.startswith("torchgraft.cli")}
    assert {module for module in importers if room(module) != "cli"} == {"torchgraft.__main__"}


def test_no_cycles():
    """Of imports that run when a module is imported; a package stands for its `__init__`."""
    graph = {
        module: {
            found.name
            for found in imports_of(module)
            if found.name in FILES and not (found.typing or found.late)
        }
        for module in FILES
    }
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as cycle:
        pytest.fail(" ← ".join(cycle.args[1]))
    assert len(order) == len(FILES)


FOREIGN = [
    ("report", {"torch", "torchvision", "timm", "accelerate"}),
    ("viewing", {"torch", "torchvision", "timm", "accelerate", "PIL"}),
    ("matching", {"torch", "numpy", "pathlib", "os", "io", "mmap"}),
    ("errors", {"torch"}),
    ("storage", {"torch"}),
    ("cli", {"timm", "torchvision", "accelerate"}),
    ("adapting", {"timm", "os", "pathlib"}),
    ("anatomy", {"os", "pathlib", "timm", "torchvision"}),
    ("surgery", {"os", "pathlib", "timm", "torchvision"}),
]


@pytest.mark.parametrize(("here", "unknown"), FOREIGN, ids=[name for name, _ in FOREIGN])
def test_what_a_room_knows_nothing_of(here, unknown):
    known = {
        f"{module} imports {found.name}"
        for module in FILES
        if room(module) == here
        for found in imports_of(module)
        if found.name.split(".")[0] in unknown
    }
    assert known == set()


@pytest.mark.parametrize(
    ("package", "modules"),
    [
        ("accelerate", {"torchgraft.finetuning.engine", "torchgraft.finetuning.runs.tracking"}),
        ("timm", {"torchgraft.exporting.timm_folder", "torchgraft.labels", "torchgraft.zoo.from_timm"}),
        ("peft", {"torchgraft.finetuning.fitting.adapters"}),
        ("click", {"torchgraft.cli"}),
        ("pickle", set()),
    ],
)
def test_who_knows_a_package(package, modules):
    importers = {m for m in FILES for i in imports_of(m) if i.name.split(".")[0] == package}
    if package == "click":
        importers = {f"torchgraft.{room(module)}" for module in importers}
    assert importers == modules


@pytest.mark.parametrize("here", ["tensors", "model_info", "errors", "formats", "checkpoint", "adapting"])
def test_pytorch_is_imported_only_when_something_is_read(here):
    early = {
        module
        for module in FILES
        if room(module) == here
        for found in imports_of(module)
        if found.name.split(".")[0] == "torch" and not (found.typing or found.late)
    }
    assert early == set()


@pytest.mark.parametrize("module", FILES)
def test_a_file_is_short_and_says_what_it_is_for(module):
    text = FILES[module].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 500
    assert module.endswith("__main__") or ast.get_docstring(ast.parse(text))


def test_only_the_command_line_prints():
    prints = {
        f"{module}:{node.lineno}"
        for module, path in FILES.items()
        if room(module) != "cli"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    assert prints == set()
