"""ArangoDB's HTTP interface over the storage and the query engine."""
