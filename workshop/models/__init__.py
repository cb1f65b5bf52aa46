"""What is served: one module per model, its signature, and how it is traced."""
