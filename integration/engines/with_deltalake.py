"""deltalake: delta-rs. It finds the store in the environment."""

import datetime

import arrow
import pyarrow.compute as pc
from deltalake import DeltaTable


def at(millis):
    return datetime.datetime.fromtimestamp(millis / 1000, datetime.timezone.utc)


def rows(url, version=None, time=None, since=None):
    table = DeltaTable(url, version=version)
    if time is not None:
        table.load_as_version(at(time))
    filters = since and (pc.field("partition") == since[0]) & (pc.field("offset") >= since[1])
    return arrow.rows(table.to_pyarrow_table(filters=filters))


def partitions(url):
    table = DeltaTable(url).to_pyarrow_table()
    keys = ["topic", "partition", "timestampType"]
    columns = table.select(keys + ["offset"])
    for name, column in {
        "ms": pc.divide(table["timestamp"].cast("int64"), 1000),
        "null": pc.is_null(table["key"]).cast("int64"),
        "empty": pc.fill_null(pc.equal(pc.binary_length(table["value"]), 0), False).cast("int64"),
        "headers": pc.list_value_length(table["headers"]).cast("int64"),
    }.items():
        columns = columns.append_column(name, column)
    wanted = [("offset", "count"), ("offset", "min"), ("offset", "max"), ("offset", "sum"), ("ms", "min"), ("ms", "max"),
              ("null", "sum"), ("empty", "sum"), ("headers", "sum")]
    groups = columns.group_by(keys).aggregate(wanted)
    return zip(*(groups.column(name).to_pylist() for name in keys + ["_".join(w) for w in wanted]))
