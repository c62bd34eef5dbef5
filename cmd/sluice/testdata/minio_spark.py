# Spark: pyspark with the jars of Delta Lake and hadoop-aws, for example
#   pyspark --packages io.delta:delta-spark_2.13:4.4.0,org.apache.hadoop:hadoop-aws:3.5.0
from pyspark.sql import SparkSession

spark = (
    SparkSession.builder.appName("web.orders")
    .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
    .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    # Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
    .config("spark.hadoop.fs.s3a.endpoint", "http://localhost:9000")
    .config("spark.hadoop.fs.s3a.endpoint.region", "us-east-1")
    .config("spark.hadoop.fs.s3a.path.style.access", "true")
    .config("spark.hadoop.fs.s3a.connection.ssl.enabled", "false")
    .getOrCreate()
)

# What is there now. The columns are those of format("kafka").
table = spark.read.format("delta").load("s3a://lake/kafka/web.orders")
table.selectExpr("partition", "offset", "timestamp", "CAST(value AS STRING)").orderBy("partition", "offset").show(20, False)

# What comes. ignoreDeletes: retention removes whole files of old records.
stream = (
    spark.readStream.format("delta")
    .option("ignoreDeletes", "true")
    .load("s3a://lake/kafka/web.orders")
)
query = (
    stream.selectExpr("partition", "offset", "CAST(value AS STRING)")
    .writeStream.format("console")
    .start()
)
query.awaitTermination()
