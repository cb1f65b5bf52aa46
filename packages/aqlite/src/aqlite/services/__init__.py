"""What lives longer than a request: users, open cursors and transactions, background jobs, running queries."""
