"""One thread owns the device: the scheduler plans a batch, the model runner computes it."""
