"""aiokafka: the client of Python's asyncio services."""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

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


async def consume(brokers, topic, group):
    consumer = AIOKafkaConsumer(bootstrap_servers=brokers, group_id=group, auto_offset_reset="earliest")
    leave = wire.asked_to_leave()
    consumer.subscribe([topic], listener=Listener())
    await consumer.start()
    while not leave.is_set():
        for records in (await consumer.getmany(timeout_ms=100)).values():
            for r in records:
                wire.record(r.partition, r.offset, r.timestamp, r.key, r.value, r.headers)
    await consumer.stop()


if __name__ == "__main__":
    asyncio.run({"create": create, "produce": produce, "consume": consume}[sys.argv[1]](*sys.argv[2:]))
