"""Features of images and of anomaly maps by a frozen backbone, and which of their columns inform about the class.

In: images uint8 (N, H, W, 3), anomaly maps (N, H, W) in [0, 1]; out: float arrays (N, columns), patches
(N, h, w, channels), mutual information per column. May import: datasets (downloads), artifacts, config, torch_utils.
"""
