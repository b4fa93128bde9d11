"""Run, compare and defend a grid of bone-radiograph classifiers. Research use only, not for clinical use."""

__version__ = "0.1.0"
