"""Anomaly maps as a hint for defect classification: the library behind the notebooks."""

__version__ = "0.1.0"
