"""The model repository and the Triton client."""
