"""Runs lag.sql over the table of committed offsets and that of a topic."""

import pathlib
import sys

import with_duckdb

_, offsets, topic = sys.argv
connection = with_duckdb.connect()
for name, url in ("offsets", offsets), ("records", topic):
    connection.execute(f"CREATE VIEW {name} AS SELECT * FROM delta_scan('{url}')")
for row in connection.execute(pathlib.Path(__file__).with_name("lag.sql").read_text()).fetchall():
    print("lag", *row, sep="\t")
