# Pathway: pip install pathway deltalake (its Delta reader needs a free licence key)
import pathway as pw
import os


class Record(pw.Schema):
    # The key of a record in the log; columns that are not named are skipped.
    partition: int = pw.column_definition(primary_key=True)
    offset: int = pw.column_definition(primary_key=True)
    key: bytes | None
    value: bytes | None


web_orders = pw.io.deltalake.read(
    "s3://lake/kafka/web.orders",
    schema=Record,
    mode="streaming",
    autocommit_duration_ms=100,
    s3_connection_settings=pw.io.s3.AwsS3Settings(
        bucket_name="lake",
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        region="eu-central-1",
    ),
)
pw.io.jsonlines.write(web_orders, "web_orders.jsonl")
pw.run()
