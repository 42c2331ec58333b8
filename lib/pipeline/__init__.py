"""The study's chain from pictures to predictions: each step makes sure of what it needs and proves what it wrote.

Steps take a `Run` and at most a split such as `grouped-0` (the fold in which those images are the test set), so
that they can be sent to a worker. The science is in the modules they call; here stand inputs, outputs, order.
"""
