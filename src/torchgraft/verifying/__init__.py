"""Whether a graft is right: against the source's own outputs, or with no reference at all."""

from torchgraft.verifying.result import Verification
from torchgraft.verifying.statistics import check_statistics
from torchgraft.verifying.statistics_result import LayerStatistics, StatisticsCheck
from torchgraft.verifying.verifying import verify

__all__ = ["LayerStatistics", "StatisticsCheck", "Verification", "check_statistics", "verify"]
