"""DuckDB with its delta extension, which is delta-kernel-rs, from a wheel."""

import importlib
import os
import pathlib
import re
import sys
import urllib.parse

import arrow
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


def rows(url, version=None, since=None):
    connection = connect()
    if version is None:
        table = f"delta_scan('{url}')"
    else:
        connection.execute(f"ATTACH '{url}' AS topic (TYPE delta)")
        table = f"topic AT (VERSION => {version})"
    where = "WHERE partition = {} AND \"offset\" >= {}".format(*since) if since else ""
    return arrow.rows(connection.execute(f"SELECT * FROM {table} {where}").to_arrow_table())


def partitions(url):
    return connect().execute(
        """SELECT topic, partition, timestampType, count(*), min("offset"), max("offset"), sum("offset")::BIGINT,
          epoch_ms(min(timestamp)), epoch_ms(max(timestamp)), count(*) - count(key),
          count(*) FILTER (octet_length(value) = 0), sum(len(headers))::BIGINT
        FROM delta_scan($1) GROUP BY ALL""", [url]).fetchall()


def script(text):
    """Runs what `sluice table sql` prints as DuckDB's shell would, and prints the last
    result. The extensions come from wheels, not by INSTALL from the network; the
    shell's getenv, which the library does not have, is filled in."""
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    for name in re.findall(r"INSTALL (\w+); LOAD \w+;", text)[::-1]:  # httpfs before delta
        load(connection, name)
    text = re.sub(r"INSTALL \w+; LOAD \w+;", "", text)
    text = re.sub(r"getenv\('(\w+)'\)", lambda m: "'" + os.environ[m[1]] + "'", text)
    for row in connection.execute(text).fetchall():
        print(*row, sep="\t")


if __name__ == "__main__":
    script(sys.stdin.read())
