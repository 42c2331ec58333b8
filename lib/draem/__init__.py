"""DRAEM (Zavrtanik et al., ICCV 2021): networks, losses, simulated anomalies, training."""
