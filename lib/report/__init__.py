"""Metrics, tests of significance, tables, figures and pages, all from stored predictions."""
