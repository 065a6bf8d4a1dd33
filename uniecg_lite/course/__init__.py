"""The frame of the notebooks: lessons, checks."""
