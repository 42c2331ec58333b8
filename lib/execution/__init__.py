"""How tasks run on this machine or a cluster, and how far they are; this package knows no study.

In: a function, its arguments for each task, the data set's folder. Out: the results in order; meanwhile progress bars,
an event log, `status.json`. Also the lock on a folder and what the machine has to give. May import `lib.artifacts`,
`lib.config`, `lib.torch_utils`, and nothing else of the project.
"""
