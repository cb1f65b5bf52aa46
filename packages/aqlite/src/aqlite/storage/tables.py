"""SQL texts of the tables that hold a collection's documents."""

from __future__ import annotations


class CollectionSql:
    """SQL texts of one collection; made once, so that SQLite's statement cache finds them by identity."""

    def __init__(self, table: str, edge: bool) -> None:
        self.table = table
        ends, marks, sets = (", source, target", ", ?, ?", ", source = ?, target = ?") if edge else ("", "", "")
        self.create = [f"CREATE TABLE {table} (rid INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, rev INTEGER NOT NULL"]
        if edge:
            self.create[0] += ", source TEXT NOT NULL, target TEXT NOT NULL"
        self.create[0] += ", body BLOB NOT NULL)"
        if edge:
            self.create.append(f"CREATE INDEX {table}_source ON {table} (source)")
            self.create.append(f"CREATE INDEX {table}_target ON {table} (target)")
        self.drop = f"DROP TABLE {table}"
        self.clear = f"DELETE FROM {table}"
        self.scan = f"SELECT rid, rev FROM {table} ORDER BY rid"
        self.all_bodies = f"SELECT rid, body FROM {table} ORDER BY rid"
        self.by_key = f"SELECT rid, rev FROM {table} WHERE key = ?"
        self.body = f"SELECT rev, body FROM {table} WHERE rid = ?"
        self.among = f"SELECT rid, rev FROM {table} WHERE rid IN (SELECT value FROM json_each(?)) ORDER BY rid"
        self.bodies = f"SELECT rid, rev, body FROM {table} WHERE rid IN (SELECT value FROM json_each(?))"
        self.insert = f"INSERT INTO {table} (key, rev, body{ends}) VALUES (?, ?, ?{marks})"
        self.update = f"UPDATE {table} SET rev = ?, body = ?{sets} WHERE rid = ?"
        self.delete = f"DELETE FROM {table} WHERE rid = ?"
        self.size = f"SELECT coalesce(sum(length(body)), 0) FROM {table}"
        self.edges = {
            "outbound": f"SELECT rid, rev FROM {table} WHERE source = ?1",
            "inbound": f"SELECT rid, rev FROM {table} WHERE target = ?1",
            "any": f"SELECT rid, rev FROM {table} WHERE source = ?1 "
            f"UNION SELECT rid, rev FROM {table} WHERE target = ?1",
        }
