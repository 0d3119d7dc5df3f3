"""A run's tables: scores by class, groups of parameters, and where all came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torchgraft.report.measures import is_number, is_share, measure_name, measure_text, number_of
from torchgraft.report.page.table import Cell, Column, TableSection
from torchgraft.report.safe_text import clean

if TYPE_CHECKING:
    from torchgraft.finetuning.runs.recorded_run import RecordedRun

__all__ = ["facts_of", "groups_table", "model_name", "number_cell", "per_class_table", "spelled"]

_COLUMNS = {"name": "class", "support": "images"}
_MOST_ROWS = 5000
_LONGEST_FACT = 600


def per_class_table(metrics: Mapping[str, Any]) -> TableSection | None:
    """A row a class, or a number that is predicted, with whatever is known of it; `None` where nothing is."""
    key = "per_class" if isinstance(metrics.get("per_class"), list) else "per_target"
    listed = metrics.get(key)
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    names = list(dict.fromkeys(name for row in rows for name in row if name != "name"))
    if not names:
        return None
    first = Column("class" if key == "per_class" else "number")
    columns = (first, *(Column(_COLUMNS.get(name, measure_name(name)), number=True) for name in names))
    return TableSection(
        columns,
        tuple(
            (Cell(str(row.get("name", "?"))), *(number_cell(name, row.get(name)) for name in names))
            for row in rows[:_MOST_ROWS]
        ),
        title="Class by class" if key == "per_class" else "Number by number",
        text="The best epoch's model on the validation images.",
    )


def number_cell(name: str, value: object, *, best: bool = False, bar: bool = True) -> Cell:
    """A measure's value as a cell, with a bar where it is a share and one is wanted."""
    number = number_of(value)
    share = number if bar and is_share(name) and name != "ece" and is_number(value) else None
    return Cell(measure_text(name, value), number, share, best)


def groups_table(run: RecordedRun) -> TableSection | None:
    """What learned how fast; `None` where the folder doesn't say."""
    listed = run.config.get("groups")
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    if not rows:
        return None
    phases = any(row.get("phase") for row in rows)
    cells = []
    for row in rows[:_MOST_ROWS]:
        numbers = (number_cell(key, row.get(key)) for key in ("tensors", "parameters"))
        rates = (Cell(_rate(row.get(key)), number_of(row.get(key))) for key in ("lr", "weight_decay"))
        phase = (Cell(str(row.get("phase", ""))),) if phases else ()
        cells.append((Cell(str(row.get("name", "?"))), *phase, *numbers, *rates))
    columns = (
        Column("group"),
        *((Column("phase"),) if phases else ()),
        *(Column(name, number=True) for name in ("tensors", "parameters", "learning rate", "weight decay")),
    )
    return TableSection(
        columns, tuple(cells), title="What learned how fast", text="The highest rate of each group."
    )


def facts_of(run: RecordedRun) -> tuple[tuple[str, str], ...]:
    """Data, settings, notes, versions."""
    config = run.config
    counts = config.get("counts")
    model = config.get("model")
    facts = [("model", model_name(config)), ("data", config.get("data"))]
    if isinstance(model, dict):
        facts += [(name, model.get(name)) for name in ("weights", "surgery")]
    if isinstance(counts, dict):
        facts.append(
            ("images", ", ".join(f"{n:,} {name}" for name, n in counts.items() if isinstance(n, int)))
        )
    facts += [("adapted", config.get("adapted")), ("skipped", config.get("skipped"))]
    settings = {**_dict(config.get("arguments")), **_dict(config.get("settings"))}
    facts += [(name.replace("_", " "), value) for name, value in settings.items()]
    notes = config.get("notes")
    facts += [("note", note) for note in (notes if isinstance(notes, list) else [])]
    facts.append(("preprocessing", config.get("preprocessing")))
    facts.append(("versions", config.get("versions")))
    facts.append(("folder", str(run.path)))
    told = [(clean(name, limit=80), spelled(value)) for name, value in facts]
    return tuple(dict.fromkeys((name, value) for name, value in told if value))


def model_name(config: Mapping[str, Any]) -> str:
    """What the model is called: how it was built, or its class."""
    model = config.get("model")
    for name in (model.get("builder"), model.get("class")) if isinstance(model, dict) else (model,):
        if isinstance(name, str) and name:
            return name
    return ""


def spelled(value: object) -> str:
    """Any value of a JSON file as one line; nothing for what is absent or empty."""
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        told = ((name, spelled(item)) for name, item in list(value.items())[:60])
        text = ", ".join(f"{name} {item}" for name, item in told if item)
    elif isinstance(value, list):
        text = ", ".join(spelled(item) for item in value[:60]) + (
            f" and {len(value) - 60} more" if len(value) > 60 else ""
        )
    else:
        text = str(value)
    return clean(text, limit=_LONGEST_FACT)


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _rate(value: object) -> str:
    return f"{value:.3g}" if is_number(value) else "–"
