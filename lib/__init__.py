"""Anomaly maps as a hint for defect classification: the library behind the notebooks."""

import os

# Read when torch is imported: what Apple's GPU cannot compute is computed on the CPU, with a warning, and no error.
os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")

__version__ = "0.1.0"
