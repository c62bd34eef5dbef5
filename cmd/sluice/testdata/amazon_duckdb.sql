-- DuckDB: paste into the duckdb shell.
INSTALL delta; LOAD delta;
INSTALL httpfs; LOAD httpfs;
CREATE OR REPLACE SECRET sluice (
  TYPE s3,
  -- The shell reads the environment. Elsewhere write the values here.
  KEY_ID getenv('AWS_ACCESS_KEY_ID'), SECRET getenv('AWS_SECRET_ACCESS_KEY'),
  REGION 'eu-central-1'
);

SELECT partition, "offset", timestamp, decode(key) AS key, decode(value) AS value
FROM delta_scan('s3://lake/kafka/web.orders')
ORDER BY partition, "offset"
LIMIT 20;
