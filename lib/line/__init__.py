"""From a finished study to an inspection line: models fitted on all labelled images, verdicts on new ones."""
