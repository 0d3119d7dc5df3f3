"""A command whose help shows its options under headings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

__all__ = ["Sectioned"]


class Sectioned(click.Command):
    """Options that no section names come under `Options`.

    Args:
        sections: Heading → names of parameters, as the command's function has them.
    """

    def __init__(self, *args: Any, sections: Mapping[str, Sequence[str]], **extra: Any) -> None:
        super().__init__(*args, **extra)
        self.sections = sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Section by section, in the order in which they were declared."""
        place = {name: heading for heading, names in self.sections.items() for name in names}
        lines: dict[str, list[tuple[str, str]]] = {heading: [] for heading in (*self.sections, "Options")}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and not isinstance(parameter, click.Argument):
                lines[place.get(parameter.name or "", "Options")].append(record)
        for heading, records in lines.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)
