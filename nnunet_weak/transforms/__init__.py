"""Transforms for nnU-Net's data loading and for batches on the training device."""
