"""The HTML report: a `Page` of sections, each a frozen dataclass with a template of its own."""

from torchgraft.report.page.comparison import ComparisonSection, Contender
from torchgraft.report.page.confusion import ConfusionSection
from torchgraft.report.page.curves import Chart, Curve, CurvesSection
from torchgraft.report.page.facts import FactsSection
from torchgraft.report.page.graft import GraftSection
from torchgraft.report.page.page import Figure, Page, Section, render_html, write_html
from torchgraft.report.page.photos import Photo, PhotosSection
from torchgraft.report.page.run import run_charts, run_page

__all__ = [
    "Chart",
    "ComparisonSection",
    "ConfusionSection",
    "Contender",
    "Curve",
    "CurvesSection",
    "FactsSection",
    "Figure",
    "GraftSection",
    "Page",
    "Photo",
    "PhotosSection",
    "Section",
    "render_html",
    "run_charts",
    "run_page",
    "write_html",
]
