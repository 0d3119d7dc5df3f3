"""The HTML report: a `Page` of sections, each a frozen dataclass with a template of its own."""

from torchgraft.report.page.checkpoint import checkpoint_page
from torchgraft.report.page.comparison import ComparisonSection, Contender
from torchgraft.report.page.confusion import ConfusionSection
from torchgraft.report.page.curves import Chart, Curve, CurvesSection
from torchgraft.report.page.diff import diff_page
from torchgraft.report.page.facts import FactsSection
from torchgraft.report.page.graft import GraftSection
from torchgraft.report.page.graft_page import graft_page
from torchgraft.report.page.page import Figure, Page, Section, render_html, write_html
from torchgraft.report.page.photos import Photo, PhotosSection
from torchgraft.report.page.run import run_page
from torchgraft.report.page.run_charts import run_charts
from torchgraft.report.page.runs import runs_page
from torchgraft.report.page.table import Cell, Column, TableSection

__all__ = [
    "Cell",
    "Chart",
    "Column",
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
    "TableSection",
    "checkpoint_page",
    "diff_page",
    "graft_page",
    "render_html",
    "run_charts",
    "run_page",
    "runs_page",
    "write_html",
]
