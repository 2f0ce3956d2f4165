"""A data set on disk: nnU-Net raw folders, cases and channels, the block of `dataset.json`. No torch here."""
