"""confluent-kafka: librdkafka, as most clients outside of the JVM use it."""

import sys

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

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


def consume(brokers, topic, group):
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": group, "auto.offset.reset": "earliest"})
    leave = wire.asked_to_leave()
    consumer.subscribe([topic], on_assign=lambda _, parts: wire.assigned(p.partition for p in parts))
    while not leave.is_set():
        m = consumer.poll(0.1)
        if m is None:
            continue
        if m.error():
            sys.exit(f"consume: {m.error()}")
        wire.record(m.partition(), m.offset(), m.timestamp()[1], m.key(), m.value(), m.headers())
    consumer.close()


if __name__ == "__main__":
    {"create": create, "produce": produce, "consume": consume}[sys.argv[1]](*sys.argv[2:])
