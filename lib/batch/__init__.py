"""How the notebook series runs over data sets: checks before the start, forecast, notebooks, data sets side by side.

In: the runs and what the command line asks for. Out: executed notebooks with their pages, proven in each data set's
folder. May import everything except `lib.cli`.
"""
