"""DRAEM (Zavrtanik et al., ICCV 2021): a detector trained on good images and simulated anomalies.

In: good images uint8 (N, side, side, 3) and textures; out: trained networks, anomaly maps and image scores in [0, 1].
May import: anomaly_maps, synthetic, execution, artifacts, config, torch_utils.
"""
