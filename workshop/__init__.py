"""Library of the workshop: what the notebooks, scripts and tests share."""
