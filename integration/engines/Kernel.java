import io.delta.kernel.Scan;
import io.delta.kernel.Snapshot;
import io.delta.kernel.Table;
import io.delta.kernel.data.ColumnarBatch;
import io.delta.kernel.data.FilteredColumnarBatch;
import io.delta.kernel.data.Row;
import io.delta.kernel.defaults.engine.DefaultEngine;
import io.delta.kernel.engine.Engine;
import io.delta.kernel.engine.FileReadResult;
import io.delta.kernel.expressions.And;
import io.delta.kernel.expressions.Column;
import io.delta.kernel.expressions.Literal;
import io.delta.kernel.expressions.Predicate;
import io.delta.kernel.internal.InternalScanFileUtils;
import io.delta.kernel.internal.data.ScanStateRow;
import io.delta.kernel.internal.util.Utils;
import io.delta.kernel.types.StructType;
import io.delta.kernel.utils.CloseableIterator;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Consumer;
import org.apache.hadoop.conf.Configuration;

/** Takes the commands of README.md: Delta Kernel's reader with its default engine. */
public final class Kernel {
  private static final PrintStream out = new PrintStream(System.out, false);
  private final Engine engine;

  /** The columns of a topic, in their order. */
  private static final int TOPIC = 0, PARTITION = 1, OFFSET = 2, TIMESTAMP = 3, TYPE = 4, KEY = 5, VALUE = 6, HEADERS = 7;

  private Kernel(Map<String, String> env) {
    Configuration hadoop = new Configuration();
    if (env.containsKey("AWS_ENDPOINT_URL")) {
      hadoop.set("fs.s3a.endpoint", env.get("AWS_ENDPOINT_URL"));
      hadoop.set("fs.s3a.endpoint.region", env.get("AWS_REGION"));
      hadoop.set("fs.s3a.path.style.access", "true");
      hadoop.set("fs.s3a.connection.ssl.enabled", "false");
      hadoop.set("fs.s3a.access.key", env.get("AWS_ACCESS_KEY_ID"));
      hadoop.set("fs.s3a.secret.key", env.get("AWS_SECRET_ACCESS_KEY"));
      hadoop.set("fs.s3a.aws.credentials.provider", "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider");
    }
    engine = DefaultEngine.create(hadoop);
  }

  /** Reads the rows that are selected, out of the files that statistics leave. */
  private void scan(Snapshot snapshot, Optional<Predicate> filter, Consumer<Row> take) throws IOException {
    var builder = snapshot.getScanBuilder();
    if (filter.isPresent()) builder = builder.withFilter(filter.get());
    Scan scan = builder.build();
    Row state = scan.getScanState(engine);
    StructType schema = ScanStateRow.getPhysicalDataReadSchema(state);
    try (CloseableIterator<FilteredColumnarBatch> files = scan.getScanFiles(engine)) {
      while (files.hasNext()) {
        try (CloseableIterator<Row> rows = files.next().getRows()) {
          while (rows.hasNext()) read(state, schema, rows.next(), take);
        }
      }
    }
  }

  private void read(Row state, StructType schema, Row file, Consumer<Row> take) throws IOException {
    var status = InternalScanFileUtils.getAddFileStatus(file);
    var found = engine.getParquetHandler().readParquetFiles(Utils.singletonCloseableIterator(status), schema, Optional.empty());
    CloseableIterator<ColumnarBatch> physical = found.map(FileReadResult::getData);
    try (var logical = Scan.transformPhysicalData(engine, state, file, physical)) {
      while (logical.hasNext()) {
        try (CloseableIterator<Row> rows = logical.next().getRows()) {
          while (rows.hasNext()) take.accept(rows.next());
        }
      }
    }
  }

  private static String encode(byte[] value) {
    return value == null ? "-" : Base64.getEncoder().encodeToString(value);
  }

  private static byte[] binary(Row row, int column) {
    return row.isNullAt(column) ? null : row.getBinary(column);
  }

  private static long millis(Row row) {
    return row.isNullAt(TIMESTAMP) ? -1 : Math.floorDiv(row.getLong(TIMESTAMP), 1000L);
  }

  private static void record(Row row) {
    List<String> pairs = new ArrayList<>();
    var names = row.getArray(HEADERS).getElements().getChild(0);
    var values = row.getArray(HEADERS).getElements().getChild(1);
    for (int i = 0; i < row.getArray(HEADERS).getSize(); i++) {
      pairs.add(names.getString(i) + "=" + encode(values.isNullAt(i) ? null : values.getBinary(i)));
    }
    out.println(String.join("\t", "record", "" + row.getInt(PARTITION), "" + row.getLong(OFFSET), "" + millis(row),
        encode(binary(row, KEY)), encode(binary(row, VALUE)), String.join(",", pairs)));
  }

  /** Kernel does not aggregate; this adds up what it reads. */
  private void partitions(Snapshot snapshot) throws IOException {
    Map<String, long[]> sums = new TreeMap<>();
    scan(snapshot, Optional.empty(), row -> {
      String of = row.getString(TOPIC) + "\t" + row.getInt(PARTITION) + "\t" + row.getInt(TYPE);
      long[] s = sums.computeIfAbsent(of, x -> new long[] {0, Long.MAX_VALUE, -1, 0, Long.MAX_VALUE, Long.MIN_VALUE, 0, 0, 0});
      long offset = row.getLong(OFFSET);
      s[0]++;
      s[1] = Math.min(s[1], offset);
      s[2] = Math.max(s[2], offset);
      s[3] += offset;
      if (!row.isNullAt(TIMESTAMP)) {
        s[4] = Math.min(s[4], millis(row));
        s[5] = Math.max(s[5], millis(row));
      }
      s[6] += row.isNullAt(KEY) ? 1 : 0;
      s[7] += !row.isNullAt(VALUE) && row.getBinary(VALUE).length == 0 ? 1 : 0;
      s[8] += row.getArray(HEADERS).getSize();
    });
    sums.forEach((of, s) -> {
      out.print("partition\t" + of);
      for (long n : s) out.print("\t" + n);
      out.println();
    });
  }

  private void obey(String[] words) throws IOException {
    String url = words[1].startsWith("s3://") ? "s3a" + words[1].substring(2) : words[1];
    Table table = Table.forPath(engine, url);
    switch (words[0]) {
      case "rows" -> scan(table.getLatestSnapshot(engine), Optional.empty(), Kernel::record);
      case "version" -> scan(table.getSnapshotAsOfVersion(engine, Long.parseLong(words[2])), Optional.empty(), Kernel::record);
      case "time" -> scan(table.getSnapshotAsOfTimestamp(engine, Long.parseLong(words[2])), Optional.empty(), Kernel::record);
      case "partitions" -> partitions(table.getLatestSnapshot(engine));
      case "since" -> {
        int partition = Integer.parseInt(words[2]);
        long offset = Long.parseLong(words[3]);
        Predicate filter = new And(
            new Predicate("=", new Column("partition"), Literal.ofInt(partition)),
            new Predicate(">=", new Column("offset"), Literal.ofLong(offset)));
        // Files are left out by Kernel; the rows of the others are for its caller to choose.
        scan(table.getLatestSnapshot(engine), Optional.of(filter), row -> {
          if (row.getInt(PARTITION) == partition && row.getLong(OFFSET) >= offset) record(row);
        });
      }
      default -> throw new IOException("unknown command");
    }
  }

  public static void main(String[] args) throws IOException {
    Kernel kernel = new Kernel(System.getenv());
    var in = new BufferedReader(new InputStreamReader(System.in));
    for (String line; (line = in.readLine()) != null; ) {
      try {
        kernel.obey(line.split("\t"));
        out.println("done");
      } catch (Exception e) {
        e.printStackTrace();
        out.println("failed\t" + e.toString().replaceAll("\\s+", " "));
      }
      out.flush();
    }
  }
}
