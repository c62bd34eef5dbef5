"""Polars, lazily: it skips files by their statistics."""

import datetime
import os

import arrow
import polars as pl


def scan(url, version=None):
    names = ("AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    options = {name: os.environ[name] for name in names if os.environ.get(name)} if url.startswith("s3:") else None
    return pl.scan_delta(url, version=version, storage_options=options)


def rows(url, version=None, time=None, since=None):
    if time is not None:
        version = datetime.datetime.fromtimestamp(time / 1000, datetime.timezone.utc)
    table = scan(url, version)
    if since:
        table = table.filter(pl.col("partition") == since[0], pl.col("offset") >= since[1])
    return arrow.rows(table.collect().to_arrow())


def partitions(url):
    offset, ms = pl.col("offset"), pl.col("timestamp").dt.epoch("ms")
    return scan(url).group_by("topic", "partition", "timestampType").agg(
        offset.count().alias("count"), offset.min().alias("min"), offset.max().alias("max"), offset.sum().alias("sum"),
        ms.min().alias("oldest"), ms.max().alias("newest"), pl.col("key").is_null().sum().alias("null"),
        (pl.col("value").bin.size() == 0).sum().alias("empty"), pl.col("headers").list.len().sum().alias("headers"),
    ).collect().rows()
