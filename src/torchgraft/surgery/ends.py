"""Which layers are a model's stems and heads: named by the user, or found by running it once needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from torch import nn

from torchgraft.anatomy.configs import check_stated_channels
from torchgraft.anatomy.detection import with_blocks
from torchgraft.anatomy.examining import Examined, observe
from torchgraft.anatomy.input_layout import input_layout
from torchgraft.anatomy.placeholders import placeholder_site
from torchgraft.anatomy.sites import Site, matrix_layers, named_sites, site_at
from torchgraft.errors import AnatomyError

__all__ = ["Ends"]

_USUAL_CHANNELS = 4


class Ends:
    """Finds stems and heads, running the model only if one that is needed was not named.

    Attributes:
        seen: What the run showed, if there was one.
    """

    def __init__(
        self,
        model: nn.Module,
        example: object,
        *,
        stem: str | Sequence[str] | None = None,
        head: str | Sequence[str] | None = None,
    ) -> None:
        self._model = model
        self._example = example
        self._named = {"stem": stem, "head": head}
        self.seen: Examined | None = None

    def sites(self, role: Literal["stem", "head"]) -> tuple[Site, ...]:
        """The layers of a role.

        Raises:
            AnatomyError: There are no such modules, or none were named and none can be told.
        """
        named = self._named[role]
        if named is not None:
            sites = self._measured(named_sites(self._model, named, role))
            if role == "head":
                return with_blocks(self._model, sites)
            # An image as it is has at most four channels: only what takes more may see them several times.
            watch = any(site.in_size > _USUAL_CHANNELS for site in sites)
            return self._laid_out(sites) if watch else sites
        anatomy = self.look().anatomy
        found = anatomy.stems if role == "stem" else anatomy.heads
        if role == "stem":  # where a model sees images and words, only images have channels
            found = tuple(site for site in found if site.kind != "embedding") or found
        if not found and role == "head" and anatomy.placeholder is not None:
            return (anatomy.placeholder,)
        if not found:
            raise self._unknown(role, anatomy.notes)
        if role == "stem":
            check_stated_channels(self._model, found)
        return found

    def look(self) -> Examined:
        """What a run shows; it is made once.

        Raises:
            AnatomyError: The model takes none of the inputs tried.
        """
        if self.seen is None:
            self.seen = observe(self._model, self._example)
        return self.seen

    def _laid_out(self, stems: tuple[Site, ...]) -> tuple[Site, ...]:
        """The stems, each with how the input's channels lie in it; unchanged where the model can't be run."""
        try:
            example = self.look().example
        except AnatomyError:
            return stems
        return tuple(replace(site, layout=input_layout(self._model, example, site)) for site in stems)

    def _measured(self, sites: tuple[Site, ...]) -> tuple[Site, ...]:
        """Placeholders that were named get the number of their features, which only a run shows."""
        if all(site.kind != "placeholder" for site in sites):
            return sites
        trace = self.look().trace
        return tuple(
            placeholder_site(site.path, trace) if site.kind == "placeholder" else site for site in sites
        )

    def _unknown(self, role: str, notes: Sequence[str]) -> AnatomyError:
        why = f" ({'; '.join(notes)})" if notes else ""
        layers = matrix_layers(self._model)
        near = [site_at(path, layer) for path, layer in (layers[:3] if role == "stem" else layers[-3:])]
        size = "in_size" if role == "stem" else "out_size"
        listed = [f"{role}={site.path!r} ({site.kind} of {getattr(site, size)})" for site in near]
        if role == "head":
            listed += [f"head={path!r} (an Identity)" for path in self.look().trace.handed_on]
        return AnatomyError(
            f"the model has no {role} that could be told{why}",
            where=type(self._model).__name__,
            hint=f"name the layer, such as {', '.join(listed)}" if listed else f'name the layer: {role}="…"',
        )
