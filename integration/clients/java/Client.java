import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.StringJoiner;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Apache Kafka's own client; see ../README.md for the commands. It compiles with the
 * client of 2.1 as well as with the newest; what that one lacks is in Administer, of which old/ has its own.
 */
public class Client {
    private static final PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "create" -> create(args[1], args[2], Integer.parseInt(args[3]));
            case "produce" -> produce(args[1], args[2], args[3]);
            case "read" -> read(args[1], args[2], Integer.parseInt(args[3]), args[4]);
            case "consume" -> consume(args[1], args[2], args[3]);
            case "admin" -> Class.forName("Administer").getMethod("main", String[].class).invoke(null, (Object) args);
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    private static void create(String brokers, String topic, int partitions) throws Exception {
        try (AdminClient admin = AdminClient.create(Map.of("bootstrap.servers", brokers))) {
            admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
        }
    }

    private static void produce(String brokers, String topic, String codec) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", brokers);
        config.put("compression.type", codec);
        config.put("linger.ms", "20");
        config.put("acks", "all");
        config.put("enable.idempotence", "true");
        List<Future<RecordMetadata>> acks = new ArrayList<>();
        try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String line; (line = in.readLine()) != null; ) {
                String[] f = line.split("\t", -1);
                Integer partition = f[0].equals("-") ? null : Integer.valueOf(f[0]);
                acks.add(producer.send(new ProducerRecord<>(
                        topic, partition, Long.valueOf(f[2]), decode(f[3]), decode(f[4]), headers(f[5]))));
            }
            producer.flush();
            for (int i = 0; i < acks.size(); i++) {
                RecordMetadata m = acks.get(i).get();
                out.println("acked\t" + i + "\t" + m.partition() + "\t" + m.offset());
            }
        }
    }

    /** From one place in each partition: earliest, offset=N or timestamp=MS. */
    private static void read(String brokers, String topic, int count, String from) throws Exception {
        Map<String, Object> config = Map.of("bootstrap.servers", brokers);
        try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            Map<TopicPartition, Long> places = new HashMap<>();
            long to = from.contains("=") ? Long.parseLong(from.substring(from.indexOf('=') + 1)) : 0;
            consumer.partitionsFor(topic).forEach(p -> places.put(new TopicPartition(topic, p.partition()), to));
            consumer.assign(places.keySet());
            if (from.equals("earliest")) {
                consumer.seekToBeginning(places.keySet());
            } else if (from.startsWith("offset=")) {
                places.forEach(consumer::seek);
            } else {
                consumer.seekToEnd(places.keySet()); // where no record is as new
                consumer.offsetsForTimes(places).forEach((p, found) -> {
                    if (found != null) {
                        consumer.seek(p, found.offset());
                    }
                });
            }
            for (int n = 0; n < count; ) {
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(100))) {
                    print(r);
                    n++;
                }
            }
        }
    }

    private static void consume(String brokers, String topic, String group) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", brokers);
        config.put("group.id", group);
        config.put("auto.offset.reset", "earliest");
        config.put("session.timeout.ms", "10000");
        config.put("heartbeat.interval.ms", "1000");
        try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> partitions) {}

                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                    StringJoiner assigned = new StringJoiner(",");
                    consumer.assignment().forEach(p -> assigned.add(Integer.toString(p.partition())));
                    out.println("assigned\t" + assigned);
                }
            });
            // Until a line on standard input asks to leave.
            while (System.in.available() == 0) {
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(100))) {
                    print(r);
                }
            }
        }
    }

    private static void print(ConsumerRecord<byte[], byte[]> r) {
        StringJoiner headers = new StringJoiner(",");
        for (Header h : r.headers()) {
            headers.add(h.key() + "=" + encode(h.value()));
        }
        out.println("record\t" + r.partition() + "\t" + r.offset() + "\t" + r.timestamp() + "\t"
                + encode(r.key()) + "\t" + encode(r.value()) + "\t" + headers);
    }

    private static List<Header> headers(String field) {
        List<Header> headers = new ArrayList<>();
        if (!field.isEmpty()) {
            for (String h : field.split(",", -1)) {
                int at = h.indexOf('=');
                headers.add(new RecordHeader(h.substring(0, at), decode(h.substring(at + 1))));
            }
        }
        return headers;
    }

    private static byte[] decode(String field) {
        return field.equals("-") ? null : Base64.getDecoder().decode(field);
    }

    private static String encode(byte[] bytes) {
        return bytes == null ? "-" : Base64.getEncoder().encodeToString(bytes);
    }
}
