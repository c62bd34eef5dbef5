"""aiokafka: the client of Python's asyncio services."""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

import wire


async def create(brokers, topic, partitions):
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, int(partitions), 1)])
    await admin.close()


async def produce(brokers, topic, codec):
    producer = AIOKafkaProducer(bootstrap_servers=brokers, enable_idempotence=True, acks="all",
                                compression_type=None if codec == "none" else codec, linger_ms=20)
    await producer.start()
    sent = [await producer.send(topic, value, key, partition, timestamp, headers)
            for partition, timestamp, key, value, headers in wire.records()]
    for i, future in enumerate(sent):
        m = await future
        wire.acked(i, m.partition, m.offset)
    await producer.stop()


class Listener(ConsumerRebalanceListener):
    def on_partitions_revoked(self, revoked):
        pass

    def on_partitions_assigned(self, assigned):
        wire.assigned(p.partition for p in assigned)


def show(records):
    for r in records:
        wire.record(r.partition, r.offset, r.timestamp, r.key, r.value, r.headers)


async def read(brokers, topic, count, start):
    kind, number = wire.place(start)
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=brokers, group_id=None, auto_offset_reset="earliest")
    await consumer.start()
    partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)]
    if kind == "earliest":
        await consumer.seek_to_beginning()
    elif kind == "offset":
        for p in partitions:
            consumer.seek(p, number)
    else:
        await consumer.seek_to_end()
        for p, found in (await consumer.offsets_for_times({p: number for p in partitions})).items():
            if found:
                consumer.seek(p, found.offset)
    left = int(count)
    while left > 0:
        for records in (await consumer.getmany(timeout_ms=100)).values():
            show(records)
            left -= len(records)
    await consumer.stop()


async def consume(brokers, topic, group):
    consumer = AIOKafkaConsumer(bootstrap_servers=brokers, group_id=group, auto_offset_reset="earliest",
                                session_timeout_ms=10000, heartbeat_interval_ms=1000)
    leave = wire.asked_to_leave()
    consumer.subscribe([topic], listener=Listener())
    await consumer.start()
    while not leave.is_set():
        for records in (await consumer.getmany(timeout_ms=100)).values():
            show(records)
    await consumer.stop()


async def admin(brokers, topic, group):
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await admin.start()
    calls = {}

    def call(f):
        calls[f.__name__.replace("_", "-")] = f

    async def count():
        return len((await admin.describe_topics([topic]))[0]["partitions"])

    async def offsets():
        return {p.partition: o.offset for p, o in (await admin.list_consumer_group_offsets(group)).items()}

    @call
    async def brokers():
        return len((await admin.describe_cluster())["brokers"])

    @call
    async def topics():
        return wire.yes_no(topic in await admin.list_topics())

    @call
    async def partitions():
        return await count()

    @call
    async def config():
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": "3600000"})])
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        return next(e[1] for e in answers[0].resources[0][4] if e[0] == "retention.ms")

    @call
    async def delete_records():
        return (await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(5)}))[TopicPartition(topic, 0)]

    @call
    async def groups():
        return wire.yes_no(group in [g[0] for g in await admin.list_consumer_groups()])

    @call
    async def group_state():
        return (await admin.describe_consumer_groups([group]))[0].groups[0][2]

    calls["group"] = calls.pop("group-state")

    @call
    async def group_offsets():
        return sum((await offsets()).values())

    @call
    async def add_partitions():
        await admin.create_partitions({topic: NewPartitions(6)})
        return await count()

    @call
    async def delete_topic():
        await admin.delete_topics([topic])
        return "done"

    for name, f in calls.items():
        try:
            answer = await f()
            wire.tell(name, lambda: answer)
        except Exception as e:
            print("failed", name, repr(e).replace("\n", " "), sep="\t", flush=True)
    await admin.close()


if __name__ == "__main__":
    asyncio.run({"create": create, "produce": produce, "read": read, "consume": consume,
                 "admin": admin}[sys.argv[1]](*sys.argv[2:]))
