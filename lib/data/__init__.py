"""From folders of pictures to one index table, folds and arrays."""
