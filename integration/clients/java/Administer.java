import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** The admin calls of Apache Kafka's own client, as of 2.5; see ../README.md. */
public class Administer {
    public static void main(String[] args) throws Exception {
        String topic = args[2], group = args[3];
        TopicPartition first = new TopicPartition(topic, 0);
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", args[1]))) {
            tell("brokers", () -> admin.describeCluster().nodes().get().size());
            tell("topics", () -> admin.listTopics().names().get().contains(topic) ? "yes" : "no");
            tell("partitions", () -> partitions(admin, topic));
            tell("config", () -> {
                admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(
                        new ConfigEntry("retention.ms", "3600000"), AlterConfigOp.OpType.SET)))).all().get();
                return admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms").value();
            });
            tell("ends", () -> {
                long sum = 0;
                for (int p = 0; p < partitions(admin, topic); p++) {
                    TopicPartition at = new TopicPartition(topic, p);
                    sum += admin.listOffsets(Map.of(at, OffsetSpec.latest())).partitionResult(at).get().offset();
                }
                return sum;
            });
            tell("delete-records", () -> admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(5)))
                    .lowWatermarks().get(first).get().lowWatermark());
            tell("groups", () -> admin.listConsumerGroups().all().get().stream()
                    .anyMatch(g -> g.groupId().equals(group)) ? "yes" : "no");
            tell("group", () -> admin.describeConsumerGroups(List.of(group)).all().get().get(group).state());
            tell("group-offsets", () -> offsets(admin, group).values().stream().mapToLong(OffsetAndMetadata::offset).sum());
            tell("alter-offsets", () -> {
                admin.alterConsumerGroupOffsets(group, Map.of(first, new OffsetAndMetadata(3))).all().get();
                return offsets(admin, group).get(first).offset();
            });
            tell("delete-offsets", () -> {
                admin.deleteConsumerGroupOffsets(group, Set.of(first)).all().get();
                return offsets(admin, group).size();
            });
            tell("delete-group", () -> {
                admin.deleteConsumerGroups(List.of(group)).all().get();
                return "done";
            });
            tell("add-partitions", () -> {
                admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(6))).all().get();
                return partitions(admin, topic);
            });
            tell("delete-topic", () -> {
                admin.deleteTopics(List.of(topic)).all().get();
                return "done";
            });
        }
    }

    private static void tell(String call, Callable<Object> f) {
        try {
            System.out.println("admin\t" + call + "\t" + f.call());
        } catch (Exception e) {
            System.out.println("failed\t" + call + "\t" + e);
        }
    }

    private static Map<TopicPartition, OffsetAndMetadata> offsets(Admin admin, String group) throws Exception {
        return admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
    }

    /** The result's one method was renamed with 3.1, and the old name went with 4.0. */
    @SuppressWarnings("unchecked")
    private static int partitions(Admin admin, String topic) throws Exception {
        Object result = admin.describeTopics(List.of(topic));
        java.lang.reflect.Method all;
        try {
            all = result.getClass().getMethod("allTopicNames");
        } catch (NoSuchMethodException e) {
            all = result.getClass().getMethod("all");
        }
        return ((KafkaFuture<Map<String, TopicDescription>>) all.invoke(result)).get().get(topic).partitions().size();
    }
}
