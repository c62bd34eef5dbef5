"""kafka-python: a client in Python alone."""

import sys

import kafka
from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, NewTopic
from kafka.structs import OffsetAndMetadata

import wire


def create(brokers, topic, partitions):
    admin = KafkaAdminClient(bootstrap_servers=brokers)
    admin.create_topics([NewTopic(topic, int(partitions), 1)])
    admin.close()


def produce(brokers, topic, codec):
    # Its idempotent producer came with 2.1.
    idempotence = {} if kafka.__version__ < "2.1" else {"enable_idempotence": True}
    producer = KafkaProducer(bootstrap_servers=brokers, acks="all", **idempotence,
                             compression_type=None if codec == "none" else codec, linger_ms=20)
    sent = [producer.send(topic, value, key, headers, partition, timestamp)
            for partition, timestamp, key, value, headers in wire.records()]
    producer.flush()
    for i, future in enumerate(sent):
        m = future.get(60)
        wire.acked(i, m.partition, m.offset)
    producer.close()


class Listener(ConsumerRebalanceListener):
    def on_partitions_revoked(self, revoked):
        pass

    def on_partitions_assigned(self, assigned):
        wire.assigned(p.partition for p in assigned)


def show(records):
    for r in records:
        wire.record(r.partition, r.offset, r.timestamp, r.key, r.value, r.headers)


def read(brokers, topic, count, start):
    kind, number = wire.place(start)
    consumer = KafkaConsumer(bootstrap_servers=brokers, group_id=None)
    partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)]
    consumer.assign(partitions)
    if kind == "earliest":
        consumer.seek_to_beginning()
    elif kind == "offset":
        for p in partitions:
            consumer.seek(p, number)
    else:
        consumer.seek_to_end()
        for p, found in consumer.offsets_for_times({p: number for p in partitions}).items():
            if found:
                consumer.seek(p, found.offset)
    left = int(count)
    while left > 0:
        for records in consumer.poll(100).values():
            show(records)
            left -= len(records)
    consumer.close()


def consume(brokers, topic, group):
    # 3.0.12 never takes up an assignment that comes between two polls: a poll must
    # be longer than a rebalance, which waits for the other member's heartbeat.
    consumer = KafkaConsumer(bootstrap_servers=brokers, group_id=group, auto_offset_reset="earliest",
                             session_timeout_ms=10000, heartbeat_interval_ms=500)
    leave = wire.asked_to_leave()
    consumer.subscribe([topic], listener=Listener())
    while not leave.is_set():
        for records in consumer.poll(3000).values():
            show(records)
    consumer.close()


def admin(brokers, topic, group):
    admin = KafkaAdminClient(bootstrap_servers=brokers)
    consumer = KafkaConsumer(bootstrap_servers=brokers, group_id=None)
    wire.tell("brokers", lambda: len(admin.describe_cluster()["brokers"]))
    wire.tell("topics", lambda: wire.yes_no(topic in admin.list_topics()))
    wire.tell("partitions", lambda: len(consumer.partitions_for_topic(topic)))
    wire.tell("ends", lambda: sum(consumer.end_offsets(
        [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)]).values()))
    # From here on the names are those of 3.0.
    first = TopicPartition(topic, 0)

    def config():
        admin.alter_configs([ConfigResource("TOPIC", topic, {"retention.ms": "3600000"})])
        answer = admin.describe_configs([ConfigResource("TOPIC", topic)])
        return list(answer.values())[0][topic]["retention.ms"]["value"]

    def offsets():
        return {p.partition: at.offset for p, at in admin.list_group_offsets(group)[group].items()}

    def alter():
        admin.alter_group_offsets(group, {first: OffsetAndMetadata(3, "", -1)})
        return offsets()[0]

    wire.tell("config", config)
    wire.tell("delete-records", lambda: admin.delete_records({first: 5})[first]["low_watermark"])
    wire.tell("groups", lambda: wire.yes_no(group in [g["group_id"] for g in admin.list_groups()]))
    wire.tell("group", lambda: admin.describe_groups([group])[group]["group_state"])
    wire.tell("group-offsets", lambda: sum(offsets().values()))
    wire.tell("alter-offsets", alter)
    wire.tell("delete-offsets", lambda: admin.delete_group_offsets(group, [first]) and len(offsets()))
    wire.tell("delete-group", lambda: admin.delete_groups([group]) and "done")
    wire.tell("add-partitions", lambda: admin.create_partitions({topic: 6}) and len(admin.describe_topics([topic])[0]["partitions"]))
    wire.tell("delete-topic", lambda: admin.delete_topics([topic]) and "done")


if __name__ == "__main__":
    {"create": create, "produce": produce, "read": read, "consume": consume, "admin": admin}[sys.argv[1]](*sys.argv[2:])
