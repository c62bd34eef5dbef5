"""Trino: a server with the Delta Lake connector, asked over its REST protocol, as its
command line is. TRINO_HOME has its lib/ and plugin/, TRINO_JAVA is a JDK of 24 or later."""

import atexit
import base64
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time as clock
import urllib.error
import urllib.request

START = 300  # s, for the start and for a worker; a busy machine takes a minute


class Failed(Exception):
    pass


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A coordinator that is its own worker, with one catalog. What it writes is below the
    working directory."""

    def __init__(self, catalog):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="trino-", dir=os.getcwd()))
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        (self.folder / "catalog").mkdir()
        (self.folder / "catalog" / "sluice.properties").write_text(catalog)
        (self.folder / "config.properties").write_text("\n".join([
            "coordinator=true", "node-scheduler.include-coordinator=true", "node.environment=test", "node.bind-ip=127.0.0.1",
            "node.internal-address=127.0.0.1", f"http-server.http.port={port}",
            f"discovery.uri={self.address}", f"plugin.dir={os.environ['TRINO_HOME']}/plugin",
            f"catalog.config-dir={self.folder}/catalog", "catalog.management=static", "query.max-memory-per-node=256MB"]))
        (self.folder / "log.properties").write_text("io.trino=WARN\nio.airlift=WARN\n")
        self.log = open(self.folder / "log", "w+")
        self.process = subprocess.Popen(
            [os.environ["TRINO_JAVA"] + "/bin/java", "-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
             "-XX:-OmitStackTraceInFastThrow", "--add-modules=jdk.incubator.vector", "--sun-misc-unsafe-memory-access=allow",
             "--enable-native-access=ALL-UNNAMED", "-Dfile.encoding=UTF-8", "-Djdk.attach.allowAttachSelf=true",
             f"-Dconfig={self.folder}/config.properties", f"-Dlog.levels-file={self.folder}/log.properties",
             "-cp", os.environ["TRINO_HOME"] + "/lib/*", "io.trino.server.TrinoServer"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        atexit.register(self.process.kill)  # of script; read.py's is killed with its group
        self.deadline = clock.monotonic() + START
        self.wait()

    def wait(self):
        while True:
            try:
                return self.query("SELECT 1")
            except (OSError, Failed) as e:
                if self.process.poll() is not None or clock.monotonic() > self.deadline:
                    self.log.seek(0)
                    raise Failed(f"{self.log.read()[-2000:]} {e}") from None
                clock.sleep(0.5)

    def request(self, url, text=None):
        request = urllib.request.Request(url, data=text and text.encode(), headers={
            "X-Trino-User": "integration", "X-Trino-Source": "integration", "X-Trino-Time-Zone": "UTC",
            "X-Trino-Catalog": "sluice", "X-Trino-Schema": "kafka"})
        for _ in range(20):
            try:
                with urllib.request.urlopen(request, timeout=120) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as e:
                if e.code not in (502, 503, 504):  # which mean: again
                    raise
                clock.sleep(0.2)
        raise Failed(f"{url} is unavailable")

    def query(self, sql):
        while True:
            try:
                return self.ask(sql)
            except Failed as e:
                # Of a server that has not found itself yet, or lost itself on a busy machine.
                if "No nodes available" not in str(e) or clock.monotonic() > self.deadline:
                    raise
                clock.sleep(0.5)

    def ask(self, sql):
        answer = self.request(self.address + "/v1/statement", sql)
        rows = []
        while True:
            if "error" in answer:
                raise Failed(answer["error"]["message"])
            rows += answer.get("data") or []
            if "nextUri" not in answer:
                return rows
            answer = self.request(answer["nextUri"])


def catalog():
    """As `sluice table sql` says, with a catalog of tables for this process alone."""
    lines = ["connector.name=delta_lake", "hive.metastore=file", "delta.register-table-procedure.enabled=true",
             "fs.native-local.enabled=true", "local.location=/", f"hive.metastore.catalog.dir=local://{metastore()}"]
    if "AWS_ENDPOINT_URL" in os.environ:
        lines += ["fs.native-s3.enabled=true", "s3.region=${ENV:AWS_REGION}", "s3.endpoint=${ENV:AWS_ENDPOINT_URL}",
                  "s3.path-style-access=true", "s3.aws-access-key=${ENV:AWS_ACCESS_KEY_ID}",
                  "s3.aws-secret-key=${ENV:AWS_SECRET_ACCESS_KEY}"]
    return "\n".join(lines)


def metastore():
    return tempfile.mkdtemp(prefix="trino-metastore-", dir=os.getcwd())


server = None
registered = {}  # tables, by URL


def table(url):
    global server
    if server is None:
        server = Server(catalog())
        server.query("CREATE SCHEMA sluice.kafka")
    if url not in registered:
        name = f"t{len(registered)}"
        location = url if url.startswith("s3://") else "local://" + url
        server.query(f"CALL sluice.system.register_table(schema_name => 'kafka', table_name => '{name}', table_location => '{location}')")
        registered[url] = f"sluice.kafka.{name}"
    return registered[url]


MILLIS = "date_diff('millisecond', TIMESTAMP '1970-01-01 00:00:00 UTC', \"timestamp\")"


def binary(value):
    return None if value is None else base64.b64decode(value)


def rows(url, version=None, time=None, since=None):
    source = table(url)
    if version is not None:
        source += f" FOR VERSION AS OF {version}"
    if time is not None:
        source += f" FOR TIMESTAMP AS OF from_unixtime_nanos({time} * BIGINT '1000000')"
    where = " WHERE partition = {} AND \"offset\" >= {}".format(*since) if since else ""
    for partition, offset, millis, key, value, headers in server.query(
            f'SELECT partition, "offset", {MILLIS}, key, value, headers FROM {source}{where}'):
        yield (partition, offset, millis, binary(key), binary(value),
               None if headers is None else [(name, binary(header)) for name, header in headers])


def partitions(url):
    source = table(url)
    return server.query(f"""SELECT topic, partition, timestampType, count(*), min("offset"), max("offset"), sum("offset"),
      min({MILLIS}), max({MILLIS}), count_if(key IS NULL), count_if(length(value) = 0), sum(cardinality(headers))
      FROM {source} GROUP BY topic, partition, timestampType""")



def script(text):
    """Runs what `sluice table sql` prints: the catalog out of its comments, then each
    statement, and prints the rows of the last. The catalog of tables is not in /tmp."""
    properties = "\n".join(re.findall(r"^--   (\S+=.*)$", text, re.MULTILINE))
    properties = properties.replace("local:///tmp/trino-metastore", "local://" + metastore())
    started = Server(properties)
    statements = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    for statement in statements.split(";"):
        if statement.strip():
            found = started.query(statement)
    for row in found:
        print(*row, sep="\t")


if __name__ == "__main__":
    script(sys.stdin.read())
