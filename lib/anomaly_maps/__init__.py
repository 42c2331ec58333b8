"""Anomaly maps: what a detector must do, PatchCore, maps of models that did not see the image, and how good maps are.

In: what a detector reads of images (N, ...), masks, labels; out: maps (N, side, side) float16 in [0, 1], their
statistics, tables of AUROC and AUPRO. May import: features, datasets, artifacts, config, torch_utils.
"""
