"""Hub models on Triton's Python backend: their repository entries, the code served in them, and their client."""
