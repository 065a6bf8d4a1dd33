"""The frame of the notebooks: lessons, the runner, results, checks."""
