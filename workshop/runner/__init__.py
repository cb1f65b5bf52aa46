"""Runs the notebooks of ``notebooks/index.toml`` headless and checks what they leave behind."""
