import java.util.Base64;
import java.util.StringJoiner;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetResetStrategy;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;

/**
 * A Flink job that copies a topic, each record as it is, where its group has committed
 * or from the start, with a checkpoint each half second. Arguments: brokers, from, to,
 * group, and "bounded" to end with what is there.
 */
public class FlinkCopy {
    public static void main(String[] args) throws Exception {
        StreamExecutionEnvironment job = StreamExecutionEnvironment.getExecutionEnvironment();
        job.setParallelism(2);
        job.enableCheckpointing(500);
        var source = KafkaSource.<String>builder()
                .setBootstrapServers(args[0])
                .setTopics(args[1])
                .setGroupId(args[3])
                .setStartingOffsets(OffsetsInitializer.committedOffsets(OffsetResetStrategy.EARLIEST))
                .setDeserializer(new Read());
        if (args[4].equals("bounded")) {
            source.setBounded(OffsetsInitializer.latest());
        }
        KafkaSink<String> sink = KafkaSink.<String>builder()
                .setBootstrapServers(args[0])
                .setRecordSerializer(new Write(args[2]))
                .setDeliveryGuarantee(DeliveryGuarantee.AT_LEAST_ONCE)
                .build();
        job.fromSource(source.build(), WatermarkStrategy.noWatermarks(), "from").sinkTo(sink);
        job.execute();
    }

    /** A record as a line: timestamp, key, value, headers (clients/README.md). */
    public static class Read implements KafkaRecordDeserializationSchema<String> {
        @Override
        public void deserialize(ConsumerRecord<byte[], byte[]> r, Collector<String> out) {
            StringJoiner headers = new StringJoiner(",");
            for (Header h : r.headers()) {
                headers.add(h.key() + "=" + encode(h.value()));
            }
            out.collect(r.timestamp() + "\t" + encode(r.key()) + "\t" + encode(r.value()) + "\t" + headers);
        }

        @Override
        public TypeInformation<String> getProducedType() {
            return Types.STRING;
        }
    }

    public static class Write implements KafkaRecordSerializationSchema<String> {
        private final String topic;

        Write(String topic) {
            this.topic = topic;
        }

        @Override
        public ProducerRecord<byte[], byte[]> serialize(String line, KafkaSinkContext context, Long ignored) {
            String[] f = line.split("\t", -1);
            var record = new ProducerRecord<>(topic, null, Long.valueOf(f[0]), decode(f[1]), decode(f[2]));
            for (String h : f[3].isEmpty() ? new String[0] : f[3].split(",", -1)) {
                int at = h.indexOf('=');
                record.headers().add(h.substring(0, at), decode(h.substring(at + 1)));
            }
            return record;
        }
    }

    private static byte[] decode(String field) {
        return field.equals("-") ? null : Base64.getDecoder().decode(field);
    }

    private static String encode(byte[] bytes) {
        return bytes == null ? "-" : Base64.getEncoder().encodeToString(bytes);
    }
}
