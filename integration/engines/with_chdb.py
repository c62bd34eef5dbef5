"""chDB: ClickHouse as a library, with delta-kernel-rs."""

import os
import tempfile

import arrow
import pyarrow as pa
from chdb import session

store = session.Session(tempfile.mkdtemp())
# Local tables lie below the working directory, or it refuses them.
os.chdir("/")


def table(url):
    if not url.startswith("s3://"):
        return f"deltaLakeLocal('{url}')"
    key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    return f"deltaLake('{os.environ['AWS_ENDPOINT_URL']}/{url.removeprefix('s3://')}/', '{key}', '{secret}')"


def query(text, **settings):
    # Binary columns stay binary: elsewise Arrow would take them for text.
    settings["output_format_arrow_string_as_string"] = 0
    joined = ", ".join(f"{name} = {value}" for name, value in settings.items())
    answer = store.query(f"{text} SETTINGS {joined}", "ArrowStream")
    return pa.ipc.open_stream(pa.py_buffer(answer.bytes())).read_all()


def rows(url, version=None, since=None, **settings):
    if version is not None:
        settings["delta_lake_snapshot_version"] = version
    where = 'WHERE partition = {} AND "offset" >= {}'.format(*since) if since else ""
    answer = query(f"SELECT partition, offset, toUnixTimestamp64Milli(timestamp) AS ms, key, value, headers FROM {table(url)} {where}", **settings)
    for row in answer.to_pylist():
        yield row["partition"], row["offset"], row["ms"], row["key"], row["value"], [(h["key"].decode(), h["value"]) for h in row["headers"]]


def partitions(url):
    answer = query(f"""SELECT topic, partition, timestampType, count() AS n, min(offset) AS low, max(offset) AS high, sum(offset) AS sum,
        toUnixTimestamp64Milli(min(timestamp)) AS oldest, toUnixTimestamp64Milli(max(timestamp)) AS newest,
        countIf(key IS NULL) AS nulls, countIf(length(value) = 0) AS empty, sum(length(headers)) AS headers_in_all
        FROM {table(url)} GROUP BY ALL""")
    for row in answer.to_pylist():
        topic, *rest = row.values()
        yield topic.decode(), *rest
