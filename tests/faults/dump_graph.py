"""Dump the graph ``g`` of a database: python dump_graph.py DATABASE FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

from workshop.settings import load_settings
from workshop.store.connection import connect
from workshop.store.dump import make_dump

if __name__ == "__main__":
    make_dump(connect(load_settings(), database=sys.argv[1]), Path(sys.argv[2]), "g", data_set="films")
