-- DuckDB: paste into the duckdb shell.
INSTALL delta; LOAD delta;

SELECT partition, "offset", timestamp, decode(key) AS key, decode(value) AS value
FROM delta_scan('file:///home/o''neil/sluice%20data/web.orders')
ORDER BY partition, "offset"
LIMIT 20;
