"""Pathway: counts words of a topic into another. Arguments: brokers, from, to."""

import sys

import pathway as pw


class Line(pw.Schema):
    word: str


brokers, source, target = sys.argv[1:]
settings = {"bootstrap.servers": brokers, "group.id": "pathway", "session.timeout.ms": "10000", "auto.offset.reset": "earliest"}
words = pw.io.kafka.read(settings, topic=source, format="json", schema=Line, mode="static")
counts = words.groupby(words.word).reduce(words.word, count=pw.reducers.count())
pw.io.kafka.write(counts, settings, topic_name=target, format="json")
pw.run(monitoring_level=pw.MonitoringLevel.NONE)
