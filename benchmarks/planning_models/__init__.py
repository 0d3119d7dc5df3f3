"""Networks of any depth in the words of two code bases, for benchmarks/planning.py."""

from planning_models.networks import SUBJECTS, Subject

__all__ = ["SUBJECTS", "Subject"]
