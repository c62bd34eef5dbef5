"""Writes a topic's table with deltalake (delta-rs) while it is live: a command a line on
standard input, a line of answer each. See README.md for the commands."""

import os
import sys
import time

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

SCHEMA = pa.schema([
    ("topic", pa.string()), ("partition", pa.int32()), ("offset", pa.int64()), ("timestamp", pa.timestamp("us", tz="UTC")),
    ("timestampType", pa.int32()), ("key", pa.binary()), ("value", pa.binary()),
    ("headers", pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))),
])


def insert(url, tag, count):
    values = [f"{tag}-{i}".encode() for i in range(int(count))]
    # Every other one has a key; all say nothing of where they belong.
    columns = {"value": values, "key": [v if i % 2 else None for i, v in enumerate(values)]}
    table = pa.table([pa.array(columns.get(f.name, [None] * len(values)), f.type) for f in SCHEMA], schema=SCHEMA)
    write_deltalake(url, table, mode="append")


def optimize(url):
    DeltaTable(url).optimize.compact()


def zorder(url):
    DeltaTable(url).optimize.z_order(["timestamp", "key"])


def delete(url, *predicate):
    DeltaTable(url).delete(" ".join(predicate))


def vacuum(url):
    # What has left the table; a full one with no retention would take what is about to come.
    DeltaTable(url).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)


for line in sys.stdin:
    command, *args = line.split()
    began = time.monotonic()
    for attempt in range(50):
        try:
            globals()[command](sys.argv[1], *args)
            break
        except DeltaError as e: # somebody else was faster: as engines do, from the start
            print(f"{command}, attempt {attempt + 1}: {e}", file=sys.stderr, flush=True)
    else:
        sys.exit(f"{command} got nowhere")
    print("done", command, DeltaTable(sys.argv[1]).version(), f"{time.monotonic() - began:.1f}s", flush=True)
sys.stdout.flush()
os._exit(0) # see read.py
