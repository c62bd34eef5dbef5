"""DuckDB with its delta extension, which is delta-kernel-rs, from a wheel."""

import importlib
import os
import pathlib
import urllib.parse

import duckdb


def load(connection, name):
    package = importlib.import_module("duckdb_extension_" + name)
    found = pathlib.Path(package.__path__[0]).rglob(f"v{duckdb.__version__}/{name}.duckdb_extension")
    connection.execute(f"LOAD '{next(found)}'")


def connect():
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    if "AWS_ENDPOINT_URL" in os.environ:
        load(connection, "httpfs")  # before delta
        connection.execute(
            "CREATE SECRET (TYPE s3, KEY_ID $key, SECRET $secret, REGION $region, ENDPOINT $host,"
            " URL_STYLE 'path', USE_SSL false)",
            {"key": os.environ["AWS_ACCESS_KEY_ID"], "secret": os.environ["AWS_SECRET_ACCESS_KEY"],
             "region": os.environ["AWS_REGION"], "host": urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"]).netloc})
    load(connection, "delta")
    return connection


def rows(url):
    return connect().execute("SELECT * FROM delta_scan($1)", [url]).to_arrow_table()


def partitions(url):
    return connect().execute(
        'SELECT topic, partition, timestampType, count(*), min("offset"), max("offset"), sum("offset")::BIGINT'
        " FROM delta_scan($1) GROUP BY ALL", [url]).fetchall()
