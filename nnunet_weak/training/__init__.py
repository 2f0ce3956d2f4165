"""What all trainers share: the training-only network around the stock one, the split checkpoint, mixed supervision, logging."""
