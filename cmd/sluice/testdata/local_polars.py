# Polars: pip install polars deltalake
import polars as pl

web_orders = pl.scan_delta("/home/o'neil/sluice data/web.orders")
print(
    web_orders.sort("partition", "offset")
    .select("partition", "offset", "timestamp", pl.col("value").cast(pl.String, strict=False))
    .head(20)
    .collect()
)
