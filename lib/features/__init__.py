"""Features of images and of anomaly maps by a frozen ResNet-18, and which of their columns inform about the class.

In: images uint8 (N, H, W, 3), anomaly maps (N, H, W) in [0, 1]; out: float arrays (N, columns), patch embeddings
(N, h, w, 384), mutual information per column. May import: datasets (downloads), artifacts, config, torch_utils.
"""
