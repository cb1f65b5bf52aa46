"""The local stack: the real tritonserver and aqlite as local processes."""
