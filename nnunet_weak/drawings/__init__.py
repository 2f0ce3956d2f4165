"""Rough drawings: what their values mean, and several annotators' made into one map. No torch here."""
