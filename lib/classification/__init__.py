"""Classifiers on feature sets, evaluated fold by fold, and thresholds on their scores.

In: column blocks (N, columns), labels (N,) and which rows train; out: predictions per test image, fitted classifiers as
plain arrays, thresholds. May import: features, datasets, config.
"""
