"""ArangoDB: connection, graph schemas, bulk upsert, vector indexes, queries."""
