"""Image data sets (notebook 00): folders of images to a checked index, masks, groups and splits.

In: a folder in one of the `layouts`, or the address of a published set. Out: an index table, arrays of images and
masks, fold numbers. May import `artifacts` and `config`; `image_io` and `errors` need Pillow and NumPy alone, as a
deployed model reads images by them too.
"""
