-- Consumer lag from the tables alone. offsets: _sluice/consumer_offsets,
-- records: the table of the topic.
WITH committed AS (
  -- The newest row of a key counts; older ones are there until the table is
  -- compacted, and a row that says deleted ends its key.
  SELECT group_id, topic, partition, "offset", table_version, deleted
  FROM offsets
  WHERE kind = 'offset'
  QUALIFY row_number() OVER (PARTITION BY group_id, topic, partition ORDER BY sequence DESC) = 1
), ends AS (
  SELECT topic, partition, max("offset") + 1 AS end_offset
  FROM records
  GROUP BY ALL
)
SELECT group_id, topic, partition, "offset" AS committed, end_offset,
       end_offset - "offset" AS lag, table_version
FROM committed JOIN ends USING (topic, partition)
WHERE NOT deleted
ORDER BY ALL;
