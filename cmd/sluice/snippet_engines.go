package main

// The snippets say what a reader must know and no more: which packages, how the
// store is reached, and what retention does to a stream.

func (s snippet) duckdb() string {
	text := `-- DuckDB: paste into the duckdb shell. Keys and values that are not text show as NULL.
INSTALL delta; LOAD delta;
`
	if s.s3 {
		text += `INSTALL httpfs; LOAD httpfs;
CREATE OR REPLACE SECRET sluice (
  TYPE s3,
  -- The shell reads the environment. Elsewhere write the values here.
  KEY_ID getenv('AWS_ACCESS_KEY_ID'), SECRET getenv('AWS_SECRET_ACCESS_KEY'),
`
		if s.endpoint != "" {
			text += `  ENDPOINT '{host}', URL_STYLE 'path', USE_SSL {tls},
`
		}
		text += `  REGION '{region}'
);
`
	}
	return s.fill(text + `
SELECT partition, "offset", timestamp, TRY(decode(key)) AS key, TRY(decode(value)) AS value
FROM delta_scan('{url}')
ORDER BY partition, "offset"
LIMIT 20;
`)
}

func (s snippet) polars() string {
	text := `# Polars: pip install polars deltalake
import polars as pl
`
	scan := `pl.scan_delta("{path}")`
	if s.s3 {
		text += `
# Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
storage_options = {
    "AWS_REGION": "{region}",
`
		if s.endpoint != "" {
			text += `    "AWS_ENDPOINT_URL": "{endpoint}",
`
		}
		if !s.tls {
			text += `    "AWS_ALLOW_HTTP": "true",
`
		}
		text += "}\n"
		scan = `pl.scan_delta("{url}", storage_options=storage_options)`
	}
	return s.fill(text + `
{name} = ` + scan + `
print(
    {name}.sort("partition", "offset")
    .select("partition", "offset", "timestamp", "value")
    .head(20)
    .with_columns(pl.col("value").map_elements(lambda v: v.decode(errors="replace"), return_dtype=pl.String))
    .collect()
)
`)
}

func (s snippet) spark() string {
	what, packages, table, config := "Delta Lake", "io.delta:delta-spark_2.13:4.4.0", `"{fileurl}"`, ""
	if s.s3 {
		what += " and hadoop-aws"
		packages += ",org.apache.hadoop:hadoop-aws:3.5.0"
		table = `"{s3a}"`
		config = `    # Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
    .config("spark.hadoop.fs.s3a.endpoint.region", "{region}")
`
	}
	if s.endpoint != "" {
		config += `    .config("spark.hadoop.fs.s3a.endpoint", "{endpoint}")
    .config("spark.hadoop.fs.s3a.path.style.access", "true")
    .config("spark.hadoop.fs.s3a.connection.ssl.enabled", "{tls}")
`
	}
	return s.fill(`# Spark: pyspark with the jars of ` + what + `, for example
#   pyspark --packages ` + packages + `
from pyspark.sql import SparkSession

spark = (
    SparkSession.builder.appName("{topic}")
    .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
    .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
` + config + `    .getOrCreate()
)

# What is there now. The columns are those of format("kafka").
table = spark.read.format("delta").load(` + table + `)
table.selectExpr("partition", "offset", "timestamp", "CAST(value AS STRING)").orderBy("partition", "offset").show(20, False)

# What comes. skipChangeCommits: retention and compaction remove old records.
stream = (
    spark.readStream.format("delta")
    .option("skipChangeCommits", "true")
    .load(` + table + `)
)
query = (
    stream.selectExpr("partition", "offset", "CAST(value AS STRING)")
    .writeStream.format("console")
    .start()
)
query.awaitTermination()
`)
}

func (s snippet) trino() string {
	files := `--   hive.metastore.catalog.dir=local:///tmp/trino-metastore
--   fs.native-local.enabled=true
--   local.location=/
`
	location := "'{local}'"
	if s.s3 {
		files = `--   hive.metastore.catalog.dir=s3://{bucket}/trino-metastore
--   fs.native-s3.enabled=true
--   s3.region={region}
`
		if s.endpoint != "" {
			files += `--   s3.endpoint={endpoint}
--   s3.path-style-access=true
`
		}
		files += `--   s3.aws-access-key=${ENV:AWS_ACCESS_KEY_ID}
--   s3.aws-secret-key=${ENV:AWS_SECRET_ACCESS_KEY}
`
		location = "'{url}'"
	}
	return s.fill(`-- Trino: a catalog of the Delta Lake connector, etc/catalog/sluice.properties:
--   connector.name=delta_lake
--   hive.metastore=file
` + files + `--   delta.register-table-procedure.enabled=true

CREATE SCHEMA IF NOT EXISTS sluice.kafka;
CALL sluice.system.register_table(
  schema_name => 'kafka', table_name => '{name}',
  table_location => ` + location + `);

SELECT partition, "offset", "timestamp", from_utf8(key) AS key, from_utf8(value) AS value
FROM sluice.kafka.{name}
ORDER BY partition, "offset"
LIMIT 20;
`)
}

func (s snippet) pathway() string {
	imports, table, settings := "", `"{path}"`, ""
	if s.s3 {
		imports, table = "import os\n\n", `"{url}"`
		settings = `    s3_connection_settings=pw.io.s3.AwsS3Settings(
        bucket_name="{bucket}",
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        region="{region}",
`
		if s.endpoint != "" {
			settings += `        endpoint="{endpoint}",
        with_path_style=True,
`
		}
		settings += "    ),\n"
	}
	return s.fill(`# Pathway: pip install pathway deltalake (its Delta reader needs a free licence key)
` + imports + `import pathway as pw


class Record(pw.Schema):
    # The key of a record in the log; columns that are not named are skipped.
    partition: int = pw.column_definition(primary_key=True)
    offset: int = pw.column_definition(primary_key=True)
    key: bytes | None
    value: bytes | None


{name} = pw.io.deltalake.read(
    ` + table + `,
    schema=Record,
    mode="streaming",
    autocommit_duration_ms=100,
` + settings + `)
pw.io.jsonlines.write({name}, "{jsonl}")
pw.run()
`)
}
