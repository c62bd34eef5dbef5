# Spark: pyspark with the jars of Delta Lake, for example
#   pyspark --packages io.delta:delta-spark_2.13:4.4.0
from pyspark.sql import SparkSession

spark = (
    SparkSession.builder.appName("web.orders")
    .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
    .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    .getOrCreate()
)

# What is there now. The columns are those of format("kafka").
table = spark.read.format("delta").load("file:///home/o'neil/sluice data/web.orders")
table.selectExpr("partition", "offset", "timestamp", "CAST(value AS STRING)").orderBy("partition", "offset").show(20, False)

# What comes. ignoreDeletes: retention removes whole files of old records.
stream = (
    spark.readStream.format("delta")
    .option("ignoreDeletes", "true")
    .load("file:///home/o'neil/sluice data/web.orders")
)
query = (
    stream.selectExpr("partition", "offset", "CAST(value AS STRING)")
    .writeStream.format("console")
    .start()
)
query.awaitTermination()
