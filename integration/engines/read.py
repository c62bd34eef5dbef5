"""Reads a topic's table with one engine; see README.md for the commands."""

import base64
import importlib
import os
import sys
import threading

EPOCH_UNITS = {"ms": 1, "us": 1000, "ns": 1000000}


def encode(value):
    return "-" if value is None else base64.b64encode(value).decode()


def print_rows(engine, url):
    table = engine.rows(url)
    # Integers, not dates: whatever the engine's unit, no zone and no rounding.
    unit = EPOCH_UNITS[table.schema.field("timestamp").type.unit]
    columns = [table.column(name) for name in ("partition", "offset", "timestamp", "key", "value", "headers")]
    columns[2] = columns[2].cast("int64")
    for partition, offset, timestamp, key, value, headers in zip(*(c.to_pylist() for c in columns)):
        if timestamp % unit:
            sys.exit(f"{partition}/{offset}: Kafka has no fractions of a millisecond: {timestamp}")
        if headers is None:
            sys.exit(f"{partition}/{offset}: headers are null, and should be none")
        pairs = ",".join(f"{h['key']}={encode(h['value'])}" for h in headers)
        print("record", partition, offset, timestamp // unit, encode(key), encode(value), pairs, sep="\t")


def print_partitions(engine, url):
    for row in engine.partitions(url):
        print("partition", *row, sep="\t")
    sys.stdout.flush()


def watch(engine, url):
    leave = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), leave.set()), daemon=True).start()
    while not leave.is_set():
        print_partitions(engine, url)
        print("seen", flush=True)


if __name__ == "__main__":
    _, name, command, url = sys.argv
    engine = importlib.import_module("with_" + name)
    {"rows": print_rows, "partitions": print_partitions, "watch": watch}[command](engine, url)
    # All is said. pyarrow sometimes aborts while the interpreter takes its threads
    # down ("terminate called without an active exception").
    sys.stdout.flush()
    os._exit(0)
