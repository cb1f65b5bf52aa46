"""aqlite: an embedded, single-process, ArangoDB-compatible document, graph and vector server for learning and tests."""

__version__ = "1.0.0"
ARANGODB_VERSION = "3.12.9"
