"""Refinement of initial masks by a trained SCORE network, in one process."""
