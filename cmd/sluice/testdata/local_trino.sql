-- Trino: a catalog of the Delta Lake connector, etc/catalog/sluice.properties:
--   connector.name=delta_lake
--   hive.metastore=file
--   hive.metastore.catalog.dir=local:///tmp/trino-metastore
--   fs.native-local.enabled=true
--   local.location=/
--   delta.register-table-procedure.enabled=true

CREATE SCHEMA IF NOT EXISTS sluice.kafka;
CALL sluice.system.register_table(
  schema_name => 'kafka', table_name => 'web_orders',
  table_location => 'local:///home/o''neil/sluice data/web.orders');

SELECT partition, "offset", "timestamp", from_utf8(key) AS key, from_utf8(value) AS value
FROM sluice.kafka.web_orders
ORDER BY partition, "offset"
LIMIT 20;
