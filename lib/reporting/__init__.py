"""What readers see: figures, tables and pages of results that other packages computed.

In: predictions, measures, maps and images of a run. Out: matplotlib figures, `Table`s (CSV, Markdown, HTML), sentences
to display, HTML pages of executed notebooks, the study's index page, the explorer. Below it are `inspection` and all
that `inspection` may import; `batch` and `cli` are above it. `style` and the modules of figures load matplotlib.
"""
