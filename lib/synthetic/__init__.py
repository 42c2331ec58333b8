"""Drawn images: synthetic products in place of the paper's confidential ones, and textures for simulated anomalies.

In: a product, class, number, side and seed. Out: images and masks of defects, or textures, the same on every machine.
`products` holds the counts and draws on demand; all else needs PyTorch. May import `datasets` (to read texture files).
"""
