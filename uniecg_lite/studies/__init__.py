"""Grids of short trainings, and what they say of the papers' claims."""
