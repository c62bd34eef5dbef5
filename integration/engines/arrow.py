"""What engines that tell rows as Arrow have in common."""

EPOCH_UNITS = {"ms": 1, "us": 1000, "ns": 1000000}


def rows(table):
    """The rows of an Arrow table as read.py prints them."""
    # Integers, not dates: whatever the engine's unit, no zone and no rounding.
    unit = EPOCH_UNITS[table.schema.field("timestamp").type.unit]
    columns = [table.column(name) for name in ("partition", "offset", "timestamp", "key", "value", "headers")]
    columns[2] = columns[2].cast("int64")
    for partition, offset, timestamp, key, value, headers in zip(*(c.to_pylist() for c in columns)):
        if timestamp is not None:
            if timestamp % unit:
                raise ValueError(f"{partition}/{offset}: Kafka has no fractions of a millisecond: {timestamp}")
            timestamp //= unit
        pairs = None if headers is None else [(h["key"], h["value"]) for h in headers]
        yield partition, offset, timestamp, key, value, pairs
