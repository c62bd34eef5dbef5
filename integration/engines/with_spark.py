"""Spark with Delta Lake, on two local threads. SPARK_JARS is the folder of Delta's jars."""

import os
import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

# The class path and not spark.jars: the version of the store's classes decides.
jars = os.path.join(os.environ["SPARK_JARS"], "*")
os.environ["PYSPARK_SUBMIT_ARGS"] = f"--driver-class-path {jars} --driver-memory 1g pyspark-shell"


def configured(builder):
    """What the tests' machine asks for, and the store."""
    builder = (
        builder.master("local[2]")
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.databricks.delta.snapshotPartitions", "2")
    )
    if "AWS_ENDPOINT_URL" in os.environ:
        for name, value in {
            "endpoint": os.environ["AWS_ENDPOINT_URL"], "endpoint.region": os.environ["AWS_REGION"],
            "path.style.access": "true", "connection.ssl.enabled": "false",
            "access.key": os.environ["AWS_ACCESS_KEY_ID"], "secret.key": os.environ["AWS_SECRET_ACCESS_KEY"],
            "aws.credentials.provider": "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
        }.items():
            builder = builder.config("spark.hadoop.fs.s3a." + name, value)
    return builder


def hadoop(url):
    return "s3a" + url.removeprefix("s3") if url.startswith("s3://") else "file://" + url


def plain(value):
    return None if value is None else bytes(value)


def told(frame):
    """Rows as read.py prints them."""
    # Milliseconds from Spark: Python's dates end before its own.
    wanted = frame.selectExpr("partition", "offset", "unix_millis(timestamp)", "key", "value", "headers")
    for partition, offset, timestamp, key, value, headers in wanted.collect():
        yield (partition, offset, timestamp, plain(key), plain(value),
               None if headers is None else [(h["key"], plain(h["value"])) for h in headers])


def rows(url, version=None, time=None, since=None):
    reader = session.read.format("delta")
    if version is not None:
        reader = reader.option("versionAsOf", version)
    if time is not None:
        at = session.sql(f"SELECT date_format(timestamp_millis({time}), 'yyyy-MM-dd HH:mm:ss.SSS')").first()[0]
        reader = reader.option("timestampAsOf", at)
    frame = reader.load(hadoop(url))
    if since:
        frame = frame.where("partition = {} AND offset >= {}".format(*since))
    return told(frame)


def stream(url, folder):
    """Reads what is new for the checkpoint in the folder into a table of its own."""
    batches = []

    def take(frame, _):
        batches.extend(told(frame))

    query = (
        session.readStream.format("delta").option("skipChangeCommits", "true").load(hadoop(url))
        .writeStream.foreachBatch(take).option("checkpointLocation", folder).trigger(availableNow=True).start()
    )
    query.awaitTermination()
    return batches


def partitions(url):
    frame = session.read.format("delta").load(hadoop(url)).groupBy("topic", "partition", "timestampType").agg(
        *(f.expr(text) for text in (
            "count(*)", "min(offset)", "max(offset)", "sum(offset)", "unix_millis(min(timestamp))", "unix_millis(max(timestamp))",
            "count_if(key IS NULL)", "count_if(octet_length(value) = 0)", "sum(size(headers))")))
    return [tuple(row) for row in frame.collect()]


def script(text):
    """Runs what `sluice table sql` prints, with the jars that are there in place of
    --packages, and the stream ends when it has read all."""
    builder = configured(SparkSession.builder)
    builder.getOrCreate().sparkContext.setLogLevel("ERROR")
    text = text.replace("query.awaitTermination()", "query.processAllAvailable()\nquery.stop()")
    exec(compile(text, "snippet", "exec"), {})


if __name__ == "__main__":
    script(sys.stdin.read())
else:
    session = configured(SparkSession.builder).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
