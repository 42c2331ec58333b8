"""The steps of a study on one data set, notebooks 00 to 05: images, folds, detectors, maps, features, classifiers.

In: a `Run` (data set, settings, folders), and for many steps a split such as `grouped-0`, the fold in which those
images are the test set (`grouped-0-repeat-1`: trained once more); plain values, so that a step can be sent to another
process. Out: tables and arrays from files, made where they are missing or were made from something else. What computes
is in the packages below, which know no files and no `Run`; here are inputs, outputs and their order. May import:
everything below, so nothing of `inspection`, `deployment`, `reporting`, `batch` and `cli`.
"""
