"""Reads topics' tables with one engine; see README.md for the commands."""

import base64
import importlib
import os
import sys
import traceback


def encode(value):
    return "-" if value is None else base64.b64encode(value).decode()


def record(partition, offset, timestamp, key, value, headers):
    """Prints a row: timestamp in ms or None, headers as pairs."""
    if headers is None:
        raise ValueError(f"{partition}/{offset}: headers are null, and should be none")
    pairs = ",".join(f"{name}={encode(header)}" for name, header in headers)
    print("record", partition, offset, -1 if timestamp is None else timestamp, encode(key), encode(value), pairs, sep="\t")


def rows(engine, url):
    for row in engine.rows(url):
        record(*row)


def version(engine, url, number):
    for row in engine.rows(url, version=int(number)):
        record(*row)


def time(engine, url, millis):
    for row in engine.rows(url, time=int(millis)):
        record(*row)


def since(engine, url, partition, offset):
    for row in engine.rows(url, since=(int(partition), int(offset))):
        record(*row)


def stream(engine, url, folder):
    for row in engine.stream(url, folder):
        record(*row)


def partitions(engine, url):
    for row in engine.partitions(url):
        print("partition", *row, sep="\t")


COMMANDS = {f.__name__: f for f in (rows, version, time, since, stream, partitions)}

if __name__ == "__main__":
    engine = importlib.import_module("with_" + sys.argv[1])
    for line in sys.stdin:
        command, *arguments = line.rstrip("\n").split("\t")
        try:
            COMMANDS[command](engine, *arguments)
            print("done", flush=True)
        except Exception as e:
            traceback.print_exc()
            print("failed", type(e).__name__, " ".join(str(e).split())[:300], sep="\t", flush=True)
    # All is said. pyarrow sometimes aborts while the interpreter takes its threads
    # down ("terminate called without an active exception").
    sys.stdout.flush()
    os._exit(0)
