"""Runs the notebooks of notebooks/index.toml with papermill."""
