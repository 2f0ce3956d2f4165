"""Training-only network parts that sit beside nnU-Net's own network."""
