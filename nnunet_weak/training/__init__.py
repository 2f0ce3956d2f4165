"""What all trainers share: the training-only network around the stock one, split checkpoints, mixed supervision."""
