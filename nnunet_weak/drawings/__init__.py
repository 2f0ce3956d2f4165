"""Rough drawings: what their values mean, several annotators' made into one map, blanks filled. No torch here."""
