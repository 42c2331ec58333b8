"""Notebook 07: a finished study judges new images.

In: a run whose classification is done, and a folder of images that nobody has labelled. Out: the production model
(fitted on all labelled images), its threshold with what to expect of it, a table of verdicts, and suggestions which
images to label. May import `lib.pipeline` and what lies below it; `decisions` needs NumPy alone, as the exported model
runs without anything else.
"""
