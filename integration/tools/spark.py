"""Spark Structured Streaming's Kafka source and sink.

batch BROKERS TOPIC       prints a record line for each row (clients/README.md)
copy BROKERS FROM TO DIR  writes what is new in a topic to another; DIR: checkpoint
"""

import base64
import os
import sys

from pyspark.sql import SparkSession

jars = os.environ["SPARK_KAFKA_JARS"]
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.jars", ",".join(os.path.join(jars, name) for name in sorted(os.listdir(jars))))
    .config("spark.ui.enabled", "false")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.sql.session.timeZone", "UTC")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("WARN")


def encode(value):
    return "-" if value is None else base64.b64encode(bytes(value)).decode()


def batch(brokers, topic):
    rows = (
        spark.read.format("kafka")
        .options(**{"kafka.bootstrap.servers": brokers, "subscribe": topic, "includeHeaders": "true", "startingOffsets": "earliest"})
        .load()
        .selectExpr("partition", "offset", "unix_millis(timestamp) AS ms", "key", "value", "headers")
    )
    for r in rows.collect():
        headers = ",".join(f"{h['key']}={encode(h['value'])}" for h in r["headers"] or ())
        print("record", r["partition"], r["offset"], r["ms"], encode(r["key"]), encode(r["value"]), headers, sep="\t")


def copy(brokers, source, target, checkpoint):
    query = (
        spark.readStream.format("kafka")
        .options(**{"kafka.bootstrap.servers": brokers, "subscribe": source, "includeHeaders": "true", "startingOffsets": "earliest"})
        .load()
        .select("key", "value", "headers")
        .writeStream.format("kafka")
        .options(**{"kafka.bootstrap.servers": brokers, "topic": target, "checkpointLocation": checkpoint})
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()


{"batch": batch, "copy": copy}[sys.argv[1]](*sys.argv[2:])
spark.stop()
