"""Pretraining of the embedded ResNet-18 on drawn surfaces and defects; no study imports it.

In: settings and a seed. Out: the weights in `lib/features/weights`. Run by `python -m lib.pretraining.training`;
may import `features`, `synthetic` and what these may import.
"""
