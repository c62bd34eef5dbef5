"""Counts the rows of a table with DuckDB, and of a copy that delta-rs optimizes
first: how much slower is a table that is in use to read?

count.py TABLE COPY prints `count NAME ROWS SECONDS` for each, the best of several."""

import json
import pathlib
import sys
import time

import with_duckdb
from deltalake import DeltaTable, PostCommitHookProperties

RUNS = 7


def count(name, url):
    best = None
    for _ in range(RUNS):
        connection = with_duckdb.connect()  # nothing is kept from the run before
        began = time.perf_counter()
        rows, = connection.execute("SELECT count(*) FROM delta_scan($1)", [url]).fetchone()
        seconds = time.perf_counter() - began
        best = seconds if best is None else min(best, seconds)
    print("count", name, rows, f"{best:.6f}", sep="\t", flush=True)


def open_to_writers(url):
    """Takes the writer feature off the copy, which `sluice.table.writers=any` does on a live one."""
    log = pathlib.Path(url) / "_delta_log"
    version = DeltaTable(url).version() + 1
    action = {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}
    (log / f"{version:020d}.json").write_text(json.dumps(action) + "\n")


_, table, copy = sys.argv
count("live", table)
open_to_writers(copy)
optimized = DeltaTable(copy)
optimized.optimize.compact(target_size=1 << 30, post_commithook_properties=PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False))
optimized.create_checkpoint()
count("optimized", copy)
sys.stdout.flush()
with_duckdb.os._exit(0)  # see read.py
