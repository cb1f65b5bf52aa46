"""Documents, indexes and transactions over SQLite."""
