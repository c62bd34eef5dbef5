"""confluent-kafka: librdkafka, as most clients outside of the JVM use it."""

import sys

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic

import wire


def create(brokers, topic, partitions):
    admin = AdminClient({"bootstrap.servers": brokers})
    for result in admin.create_topics([NewTopic(topic, int(partitions), 1)]).values():
        result.result()


def produce(brokers, topic, codec):
    producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True,
                         "compression.type": codec, "linger.ms": 20})
    failed = []

    def report(index):
        def delivered(error, message):
            if error:
                failed.append(error)
            else:
                wire.acked(index, message.partition(), message.offset())
        return delivered

    for i, (partition, timestamp, key, value, headers) in enumerate(wire.records()):
        producer.produce(topic, value, key, partition=-1 if partition is None else partition,
                         on_delivery=report(i), timestamp=timestamp, headers=headers)
        producer.poll(0)
    left = producer.flush(60)
    if failed or left:
        sys.exit(f"{left} records not delivered, errors: {failed}")


def consumer(brokers, group):
    return Consumer({"bootstrap.servers": brokers, "group.id": group, "auto.offset.reset": "earliest",
                     "session.timeout.ms": 10000, "heartbeat.interval.ms": 1000})


def show(m):
    if m.error():
        sys.exit(f"consume: {m.error()}")
    wire.record(m.partition(), m.offset(), m.timestamp()[1], m.key(), m.value(), m.headers())


def read(brokers, topic, count, start):
    kind, number = wire.place(start)
    c = consumer(brokers, "unused")
    partitions = c.list_topics(topic, 30).topics[topic].partitions
    places = [TopicPartition(topic, p, OFFSET_BEGINNING if kind == "earliest" else number) for p in partitions]
    if kind == "timestamp":
        places = c.offsets_for_times(places, 30)
    c.assign(places)
    left = int(count)
    while left:
        m = c.poll(0.1)
        if m is not None:
            show(m)
            left -= 1
    c.close()


def consume(brokers, topic, group):
    c = consumer(brokers, group)
    leave = wire.asked_to_leave()
    c.subscribe([topic], on_assign=lambda _, parts: wire.assigned(p.partition for p in parts))
    while not leave.is_set():
        m = c.poll(0.1)
        if m is not None:
            show(m)
    c.close()


def admin(brokers, topic, group):
    admin = AdminClient({"bootstrap.servers": brokers})

    def only(futures):
        return list(futures.values())[0].result()

    def partitions():
        return len(admin.list_topics(topic, 30).topics[topic].partitions)

    def config():
        resource = ConfigResource("topic", topic)
        if hasattr(admin, "incremental_alter_configs"):  # 2.2
            from confluent_kafka.admin import AlterConfigOpType, ConfigEntry
            resource.incremental_configs = [ConfigEntry("retention.ms", "3600000", incremental_operation=AlterConfigOpType.SET)]
            only(admin.incremental_alter_configs([resource]))
        else:
            resource.set_config("retention.ms", "3600000")
            only(admin.alter_configs([resource]))
        return only(admin.describe_configs([ConfigResource("topic", topic)]))["retention.ms"].value

    wire.tell("brokers", lambda: len(admin.list_topics(timeout=30).brokers))
    wire.tell("topics", lambda: wire.yes_no(topic in admin.list_topics(timeout=30).topics))
    wire.tell("partitions", partitions)
    wire.tell("config", config)
    if hasattr(admin, "list_offsets"):  # 2.3
        def ends():
            latest = confluent_kafka.admin.OffsetSpec.latest()
            asked = {TopicPartition(topic, p): latest for p in range(partitions())}
            return sum(f.result().offset for f in admin.list_offsets(asked).values())
        wire.tell("ends", ends)
    if hasattr(admin, "delete_records"):  # 2.6
        wire.tell("delete-records", lambda: only(admin.delete_records([TopicPartition(topic, 0, 5)])).low_watermark)
    wire.tell("groups", lambda: wire.yes_no(group in [g.id for g in admin.list_groups(timeout=30)]))
    if hasattr(admin, "describe_consumer_groups"):  # 2.0
        wire.tell("group", lambda: only(admin.describe_consumer_groups([group])).state.name.capitalize())
    if hasattr(admin, "list_consumer_group_offsets"):  # 2.0
        def offsets():
            asked = [confluent_kafka.ConsumerGroupTopicPartitions(group)]
            return {p.partition: p.offset for p in only(admin.list_consumer_group_offsets(asked)).topic_partitions}

        def alter():
            to = [confluent_kafka.ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 3)])]
            only(admin.alter_consumer_group_offsets(to))
            return offsets()[0]

        wire.tell("group-offsets", lambda: sum(offsets().values()))
        wire.tell("alter-offsets", alter)
        wire.tell("delete-group", lambda: only(admin.delete_consumer_groups([group])) or "done")
    wire.tell("add-partitions", lambda: only(admin.create_partitions([NewPartitions(topic, 6)])) or partitions())
    wire.tell("delete-topic", lambda: only(admin.delete_topics([topic])) or "done")


if __name__ == "__main__":
    {"create": create, "produce": produce, "read": read, "consume": consume, "admin": admin}[sys.argv[1]](*sys.argv[2:])
