"""A service between two topics: it knows nothing of lineage, and copies the headers of a record.

kafka_hop.py BOOTSTRAP FROM TO [drop]      with `drop` it copies none
"""

import sys

from confluent_kafka import Consumer, Producer

from leave import leave_with_parent

bootstrap, source, target = sys.argv[1:4]
copies = "drop" not in sys.argv[4:]
consumer = Consumer({
    "bootstrap.servers": bootstrap,
    "group.id": "hop-" + target,
    "auto.offset.reset": "earliest",
})
producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
consumer.subscribe([source])
leave_with_parent()
print("ready", flush=True)
while True:
    record = consumer.poll(0.1)
    producer.poll(0)
    if record is None:
        continue
    if record.error():
        print(record.error(), file=sys.stderr)
        continue
    headers = record.headers() if copies else None
    producer.produce(target, record.value(), record.key(), headers=headers)
