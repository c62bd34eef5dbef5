-- Trino: a catalog of the Delta Lake connector, etc/catalog/sluice.properties:
--   connector.name=delta_lake
--   hive.metastore=file
--   hive.metastore.catalog.dir=s3://lake/trino-metastore
--   fs.native-s3.enabled=true
--   s3.region=eu-central-1
--   s3.aws-access-key=${ENV:AWS_ACCESS_KEY_ID}
--   s3.aws-secret-key=${ENV:AWS_SECRET_ACCESS_KEY}
--   delta.register-table-procedure.enabled=true

CREATE SCHEMA IF NOT EXISTS sluice.kafka;
CALL sluice.system.register_table(
  schema_name => 'kafka', table_name => 'web_orders',
  table_location => 's3://lake/kafka/web.orders');

SELECT partition, "offset", "timestamp", from_utf8(key) AS key, from_utf8(value) AS value
FROM sluice.kafka.web_orders
ORDER BY partition, "offset"
LIMIT 20;
