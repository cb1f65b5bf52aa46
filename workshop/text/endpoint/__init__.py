"""The sentence model as an ensemble that needs nothing but Triton: for an endpoint without network or packages."""
