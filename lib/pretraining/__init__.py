"""Pretraining of DRAEM's networks on drawn surfaces, objects and flaws; no study imports it (`make draem-weights`).

In: widths, a seed. Out: the weights that training in a fold starts from. May import `draem`, `synthetic`, and what
these may.
"""
