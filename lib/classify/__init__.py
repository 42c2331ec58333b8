"""Features, their selection, the classifier and its evaluation."""
