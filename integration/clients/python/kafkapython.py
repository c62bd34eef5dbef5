"""kafka-python: a client in Python alone."""

import sys

from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

import wire


def create(brokers, topic, partitions):
    admin = KafkaAdminClient(bootstrap_servers=brokers)
    admin.create_topics([NewTopic(topic, int(partitions), 1)])
    admin.close()


def produce(brokers, topic, codec):
    producer = KafkaProducer(bootstrap_servers=brokers, enable_idempotence=True, acks="all",
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


def consume(brokers, topic, group):
    # 3.0.12 never takes up an assignment that comes between two polls: a poll must
    # be longer than a rebalance, which waits for the other member's heartbeat.
    consumer = KafkaConsumer(bootstrap_servers=brokers, group_id=group, auto_offset_reset="earliest",
                             heartbeat_interval_ms=500)
    leave = wire.asked_to_leave()
    consumer.subscribe([topic], listener=Listener())
    while not leave.is_set():
        for records in consumer.poll(3000).values():
            for r in records:
                wire.record(r.partition, r.offset, r.timestamp, r.key, r.value, r.headers)
    consumer.close()


if __name__ == "__main__":
    {"create": create, "produce": produce, "consume": consume}[sys.argv[1]](*sys.argv[2:])
