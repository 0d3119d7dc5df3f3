"""A model card: what the model is, where its weights are from, what was done to them, how well it does.

What is not known is "unknown": nothing is made up, the licence least of all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from torch import nn

from torchgraft import __version__
from torchgraft.errors import SaveError
from torchgraft.exporting.facts import labels_of, preprocessing_of, sizes_of, without_folders
from torchgraft.exporting.front_matter import front_matter
from torchgraft.exporting.result import Exported
from torchgraft.exporting.run_metrics import RunMetrics
from torchgraft.exporting.timm_folder import is_timm
from torchgraft.exporting.transformers_folder import is_transformers
from torchgraft.model_info import ModelInfo, info_of
from torchgraft.planning import Plan
from torchgraft.storage.atomic import write_text_atomic

__all__ = ["card_text", "export_card"]

_UNKNOWN = "unknown"
_SHORT = re.compile(r"[a-z0-9][a-z0-9.-]*")  # such as apache-2.0, bsd-3-clause, cc-by-nc-4.0
_TASKS = {
    "classes": "image-classification",
    "multi-label": "image-classification",
    "segmentation": "image-segmentation",
}
"""A model's task → the hub's word for it; the hub has none for numbers of an image."""

_LISTS = ("datasets", "metrics", "tags", "language")


def export_card(text: str, path: Path) -> Exported:
    """Write the card alone.

    Raises:
        SaveError: It can't be written.
    """
    if path.suffix != ".md":
        raise SaveError("a model card is a .md file", where=str(path), hint="README.md")
    write_text_atomic(path, text)
    return Exported(path, "card", "a model card")


def card_text(
    model: nn.Module, name: str, plan: Plan | None, run: RunMetrics | None, said: Mapping[str, object]
) -> str:
    """The card.

    Args:
        model: What it is of.
        name: What the card calls it.
        plan: By which the weights came into the model.
        run: How it was trained, and how well it does.
        said: Entries of the front matter that the user gives, such as `license`.

    Raises:
        SaveError: An entry is nothing that the front matter can hold.
    """
    info = info_of(model)
    head = _front_matter(model, name, info, run, _checked(said))
    blocks = [front_matter(head), f"# {name}\n", _what(model, info)]
    blocks += [_section("Weights", _weights(info, plan, head))]
    if info.surgery:
        blocks += [_section("Changes", (f"- {_step(step)}" for step in info.surgery))]
    if run is not None:
        blocks += [_section("Metrics", _metrics(run))]
    blocks += [_section("Use", _use(model, name))]
    blocks += [_section("Licence", _licence(head))]
    return "\n".join(block for block in blocks if block)


def _checked(said: Mapping[str, object]) -> dict[str, object]:
    checked: dict[str, object] = {}
    for key, value in said.items():
        if not isinstance(key, str) or not isinstance(value, str | int | float | list | tuple | Mapping):
            raise SaveError(
                f"the card's {key!r} can't be {type(value).__name__}", hint='card={"license": "mit"}'
            )
        checked[key] = [value] if key in _LISTS and isinstance(value, str) else value
    return checked


def _library(model: nn.Module) -> str:
    return "timm" if is_timm(model) else "transformers" if is_transformers(model) else "pytorch"


def _front_matter(
    model: nn.Module, name: str, info: ModelInfo, run: RunMetrics | None, said: Mapping[str, object]
) -> dict[str, object]:
    images = preprocessing_of(model, None) is not None
    kind = _TASKS.get(info.task or "classes") if images and sizes_of(model).classes else None
    head: dict[str, object] = {
        **_hub_licence(info.weights.get("licence", _UNKNOWN)),
        "library_name": _library(model),
        "tags": ["torchgraft", *([kind] if kind else [])],
    }
    if kind:
        head["pipeline_tag"] = kind
    if "hub" in info.weights:
        head["base_model"] = info.weights["hub"].partition("@")[0]
    if run is not None and run.values:
        head["metrics"] = [key for key, _, _ in run.rows()]
    if "license" in said:
        head = {key: value for key, value in head.items() if not key.startswith("license_")}
    head |= said
    if run is not None and run.values and "model-index" not in said:
        head["model-index"] = _model_index(name, run, kind or "other")
    return head


def _hub_licence(known: str) -> dict[str, str]:
    """As the hub takes it: its short name of a licence; else `other`, and where or what it is."""
    if _SHORT.fullmatch(known):
        return {"license": known}
    return {"license": "other", ("license_link" if "://" in known else "license_name"): known}


def _model_index(name: str, run: RunMetrics, kind: str) -> list[dict[str, object]]:
    data = run.data or _UNKNOWN
    return [
        {
            "name": name,
            "results": [
                {
                    "task": {"type": kind},
                    "dataset": {"name": data, "type": data},
                    "metrics": [
                        {"type": key, "value": round(value, 6), "name": words}
                        for key, words, value in run.rows()
                    ],
                }
            ],
        }
    ]


def _what(model: nn.Module, info: ModelInfo) -> str:
    sizes = sizes_of(model)
    labels = labels_of(model, sizes.classes)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    built = f"`{info.builder}`" if info.builder else f"`{type(model).__name__}`"
    lines = [f"{built}, {parameters:,} parameters."]
    preprocessing = preprocessing_of(model, sizes.channels)
    if preprocessing is not None:
        height, width = preprocessing.size
        lines.append(
            f"- input: {preprocessing.channels} channels, {height} x {width} pixels (height x width); "
            f"{preprocessing.interpolation}, centre crop {preprocessing.crop:g}, "
            f"mean {_numbers(preprocessing.mean)}, std {_numbers(preprocessing.std)}"
        )
    elif sizes.channels is not None:
        lines.append(f"- input: {sizes.channels} channels")
    if sizes.classes is not None:
        named = ", ".join(_text(label) for label in (labels or ())[:30])
        more = f" and {len(labels) - 30} more" if labels and len(labels) > 30 else ""
        names = f": {named}{more}" if named else ", their names unknown"
        lines.append(f"- classes: {sizes.classes}{names}")
    return "\n".join(lines) + "\n"


def _weights(info: ModelInfo, plan: Plan | None, head: Mapping[str, object]) -> Iterator[str]:
    if "base_model" in head:
        yield f"- base model: {_text(head['base_model'])}"
    if not info.weights and plan is None:
        yield f"- source: {_UNKNOWN}"
    for key, value in info.weights.items():
        if plan is None or key not in ("summary", "matched by"):
            yield f"- {key}: {_text(without_folders(value))}"
    if plan is not None:
        yield f"- matched by: {_text(plan.match)}"
        yield f"- plan: {_text(plan.summary)}"
        yield from (f"- note: {_text(without_folders(note))}" for note in plan.notes)
        yield from (f"- doubt: {_text(without_folders(doubt))}" for doubt in plan.doubts)


def _step(step: Mapping[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {_value(value)}" for key, value in step.items())


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        shown = ", ".join(map(str, value[:12]))
        return _text(f"{shown} and {len(value) - 12} more" if len(value) > 12 else shown)
    return _text(value)


def _metrics(run: RunMetrics) -> Iterator[str]:
    count = f"{run.images:,} images" if run.images is not None else "images"
    where = f" of {_text(run.data)}" if run.data else ""
    trained = f", after {_text(run.recipe)}" if run.recipe else ""
    yield f"On {count}{where} that were held out{trained}.\n"
    yield "| metric | value |\n|---|---|"
    yield from (f"| {words} | {value:.4f} |" for _, words, value in run.rows())


def _use(model: nn.Module, name: str) -> Iterator[str]:
    yield "```python"
    if is_timm(model):
        yield f'import timm\n\nmodel = timm.create_model("local-dir:{name}", pretrained=True).eval()'
    elif is_transformers(model):
        yield f"from transformers import {type(model).__name__}\n"
        yield f'model = {type(model).__name__}.from_pretrained("{name}").eval()'
    else:
        yield f'import torchgraft as tg\n\nmodel = tg.load("{name}")'
    yield "```\n"
    yield f"Exported by torchgraft {__version__} with {', '.join(_versions(model))}."


def _versions(model: nn.Module) -> Iterator[str]:
    for package in ("torch", _library(model)):
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            continue


def _licence(head: Mapping[str, object]) -> Iterator[str]:
    licence = str(head.get("license_link") or head.get("license_name") or head["license"])
    if licence == _UNKNOWN:
        yield "Unknown. Find out what the sources of the weights and of the data allow before you share it."
    else:
        yield f"{_text(licence)}, as far as is known; see to it that the source and the data allow it."


def _section(title: str, lines: Iterator[str]) -> str:
    return f"## {title}\n\n" + "\n".join(lines) + "\n"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _text(value: object) -> str:
    """One line, with nothing in it that Markdown or HTML would take for its own."""
    text = " ".join(str(value).split())
    return "".join(f"\\{letter}" if letter in "\\`*[]<>|" else letter for letter in text)
