"""The frame of the notebooks: lessons, results, checks."""
