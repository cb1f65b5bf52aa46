"""Image models: how pictures become tensors, what is served, and the clients."""
