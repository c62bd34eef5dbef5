# Polars: pip install polars deltalake
import polars as pl

# Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
storage_options = {
    "AWS_REGION": "eu-central-1",
}

web_orders = pl.scan_delta("s3://lake/kafka/web.orders", storage_options=storage_options)
print(
    web_orders.sort("partition", "offset")
    .select("partition", "offset", "timestamp", pl.col("value").cast(pl.String, strict=False))
    .head(20)
    .collect()
)
