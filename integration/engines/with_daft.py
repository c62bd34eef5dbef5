"""Daft, with delta-rs."""

import datetime
import os

import arrow
import daft
import pyarrow.compute as pc


def table(url, **at):
    if not url.startswith("s3://"):
        return daft.read_deltalake(url, **at)
    config = daft.io.IOConfig(s3=daft.io.S3Config(
        endpoint_url=os.environ["AWS_ENDPOINT_URL"], region_name=os.environ["AWS_REGION"], use_ssl=False, force_virtual_addressing=False,
        key_id=os.environ["AWS_ACCESS_KEY_ID"], access_key=os.environ["AWS_SECRET_ACCESS_KEY"]))
    return daft.read_deltalake(url, io_config=config, **at)


def rows(url, version=None, time=None, since=None):
    at = version
    if time is not None:
        at = datetime.datetime.fromtimestamp(time / 1000, datetime.timezone.utc)
    found = table(url, version=at)
    if since:
        found = found.where((daft.col("partition") == since[0]) & (daft.col("offset") >= since[1]))
    return arrow.rows(found.to_arrow())


def partitions(url):
    keys = ["topic", "partition", "timestampType"]
    offset, time = daft.col("offset"), daft.col("timestamp")
    found = table(url).with_columns({
        "null": daft.col("key").is_null().cast(daft.DataType.int64()),
        "empty": (daft.col("value").length() == 0).fill_null(False).cast(daft.DataType.int64()),
        "pairs": daft.col("headers").list_count().cast(daft.DataType.int64()),
    }).groupby(*keys).agg(
        offset.count().alias("count"), offset.min().alias("min"), offset.max().alias("max"), offset.sum().alias("sum"),
        time.min().alias("oldest"), time.max().alias("newest"),
        daft.col("null").sum(), daft.col("empty").sum(), daft.col("pairs").sum()).to_arrow()
    for name in ("oldest", "newest"):
        found = found.set_column(found.schema.get_field_index(name), name, pc.divide(found[name].cast("int64"), 1000))
    return zip(*(column.to_pylist() for column in found.columns))
