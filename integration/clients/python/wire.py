"""What the Python clients share: the lines of ../README.md."""

import base64
import sys
import threading


def decode(field):
    return None if field == "-" else base64.b64decode(field)


def encode(value):
    return "-" if value is None else base64.b64encode(bytes(value)).decode()


def records():
    """The records on standard input: partition, timestamp, key, value, headers."""
    for line in sys.stdin:
        partition, _, timestamp, key, value, headers = line.rstrip("\n").split("\t")
        pairs = [h.split("=", 1) for h in headers.split(",") if h]
        yield (
            None if partition == "-" else int(partition),
            int(timestamp),
            decode(key),
            decode(value),
            [(name, decode(value)) for name, value in pairs],
        )


def acked(index, partition, offset):
    print("acked", index, partition, offset, sep="\t", flush=True)


def assigned(partitions):
    print("assigned", ",".join(map(str, sorted(partitions))), sep="\t", flush=True)


def record(partition, offset, timestamp, key, value, headers):
    pairs = ",".join(f"{name}={encode(value)}" for name, value in headers or ())
    print("record", partition, offset, timestamp, encode(key), encode(value), pairs, sep="\t", flush=True)


def place(argument):
    """A place to read from: ("earliest", 0), ("offset", N) or ("timestamp", MS)."""
    kind, _, number = argument.partition("=")
    return kind, int(number or 0)


def tell(call, f):
    """Prints what an admin call answered, or its error."""
    try:
        print("admin", call, f(), sep="\t", flush=True)
    except Exception as e:
        print("failed", call, repr(e).replace("\n", " "), sep="\t", flush=True)


def yes_no(there):
    return "yes" if there else "no"


def asked_to_leave():
    """An event that is set when a line comes on standard input."""
    leave = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), leave.set()), daemon=True).start()
    return leave
