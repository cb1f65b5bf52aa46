"""Recommenders: compose serving and store."""
