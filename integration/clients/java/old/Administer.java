import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/**
 * The admin calls of Apache Kafka's own client, as of 2.1; see ../../README.md. Configs
 * are altered as a whole (AlterConfigs). Offsets are listed and altered from 2.5 on, and
 * deleted from 2.4 on.
 */
public class Administer {
    public static void main(String[] args) {
        String topic = args[2], group = args[3];
        TopicPartition first = new TopicPartition(topic, 0);
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        try (AdminClient admin = AdminClient.create(Map.of("bootstrap.servers", args[1]))) {
            tell("brokers", () -> admin.describeCluster().nodes().get().size());
            tell("topics", () -> admin.listTopics().names().get().contains(topic) ? "yes" : "no");
            tell("partitions", () -> partitions(admin, topic));
            tell("config", () -> {
                admin.alterConfigs(Map.of(resource, new Config(List.of(new ConfigEntry("retention.ms", "3600000"))))).all().get();
                return admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms").value();
            });
            tell("delete-records", () -> admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(5)))
                    .lowWatermarks().get(first).get().lowWatermark());
            tell("groups", () -> admin.listConsumerGroups().all().get().stream()
                    .anyMatch(g -> g.groupId().equals(group)) ? "yes" : "no");
            tell("group", () -> admin.describeConsumerGroups(List.of(group)).all().get().get(group).state());
            tell("group-offsets", () -> admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get()
                    .values().stream().mapToLong(OffsetAndMetadata::offset).sum());
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

    private static int partitions(AdminClient admin, String topic) throws Exception {
        return admin.describeTopics(List.of(topic)).all().get().get(topic).partitions().size();
    }
}
