"""What speaks Triton, without torch: signatures, the model repository, sidecars, the client."""
