"""Drawn surfaces with drawn defects, to pretrain networks on; no study imports it.

In: seeds. Out: images (B, 3, H, W) in [0, 1], and where they are flawed. May import `synthetic`.
"""
