# Pathway: pip install pathway deltalake (its Delta reader needs a free licence key)
import pathway as pw


class Record(pw.Schema):
    # The key of a record in the log; columns that are not named are skipped.
    partition: int = pw.column_definition(primary_key=True)
    offset: int = pw.column_definition(primary_key=True)
    key: bytes | None
    value: bytes | None


web_orders = pw.io.deltalake.read(
    "/home/o'neil/sluice data/web.orders",
    schema=Record,
    mode="streaming",
    autocommit_duration_ms=100,
)
pw.io.jsonlines.write(web_orders, "web_orders.jsonl")
pw.run()
