"""Judging recommendations: protocols, metrics and how sure one can be of them."""
