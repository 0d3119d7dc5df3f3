"""What people see: renderables for a terminal (`terminal`) and one self-contained HTML page (`page`).

Nothing here needs PyTorch. Text from files is made harmless in `safe_text`.
"""

from torchgraft.report.writing import write_report

__all__ = ["write_report"]
