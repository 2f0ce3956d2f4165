"""Weak annotation simulated from dense labels, for benchmarks and teaching."""
