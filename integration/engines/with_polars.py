"""Polars, lazily: it skips files by their statistics."""

import os

import polars as pl


def scan(url):
    names = ("AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    options = {name: os.environ[name] for name in names if os.environ.get(name)} if url.startswith("s3:") else None
    return pl.scan_delta(url, storage_options=options)


def rows(url):
    return scan(url).collect().to_arrow()


def partitions(url):
    offset = pl.col("offset")
    return scan(url).group_by("topic", "partition", "timestampType").agg(
        offset.count().alias("count"), offset.min().alias("min"), offset.max().alias("max"),
        offset.sum().alias("sum")).collect().rows()
