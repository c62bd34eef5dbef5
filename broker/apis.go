package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// table answers the APIs that this broker serves, in the order of their keys.
// It is a function and not a variable, as ApiVersions, which is one of its rows,
// answers from it.
//
// The ranges are those of Kafka 4.4, widened where clients in use need it:
// Produce tells 0 because librdkafka before 2.12 derives its compression types
// from it (KAFKA-18659), ListOffsets 0 is sent by old librdkafka, CreateTopics
// 0 and 1 by kafka-go. DESIGN.md promise 7: nothing is advertised that is not served.
func table() []api {
	return []api{
		{key: kmsg.Produce, min: 3, max: 13, advertised: 0, start: (*Broker).produce},
		{key: kmsg.Fetch, min: 4, max: 18, advertised: 4, handle: (*Broker).fetch},
		{key: kmsg.ListOffsets, min: 0, max: 11, advertised: 0, handle: (*Broker).listOffsets},
		{key: kmsg.Metadata, min: 0, max: 13, advertised: 0, handle: (*Broker).metadata},
		{key: kmsg.OffsetCommit, min: 2, max: 10, advertised: 2, start: (*Broker).offsetCommit},
		{key: kmsg.OffsetFetch, min: 1, max: 10, advertised: 1, handle: (*Broker).offsetFetch},
		{key: kmsg.FindCoordinator, min: 0, max: 6, advertised: 0, handle: (*Broker).findCoordinator},
		{key: kmsg.JoinGroup, min: 0, max: 9, advertised: 0, handle: (*Broker).joinGroup},
		{key: kmsg.Heartbeat, min: 0, max: 4, advertised: 0, handle: (*Broker).heartbeat},
		{key: kmsg.LeaveGroup, min: 0, max: 5, advertised: 0, handle: (*Broker).leaveGroup},
		{key: kmsg.SyncGroup, min: 0, max: 5, advertised: 0, handle: (*Broker).syncGroup},
		{key: kmsg.DescribeGroups, min: 0, max: 6, advertised: 0, handle: (*Broker).describeGroups},
		{key: kmsg.ListGroups, min: 0, max: 5, advertised: 0, handle: (*Broker).listGroups},
		{key: kmsg.ApiVersions, min: 0, max: 5, advertised: 0, handle: (*Broker).apiVersions},
		{key: kmsg.CreateTopics, min: 0, max: 7, advertised: 0, handle: (*Broker).createTopics},
		{key: kmsg.DeleteTopics, min: 1, max: 6, advertised: 1, handle: (*Broker).deleteTopics},
		{key: kmsg.DeleteRecords, min: 0, max: 2, advertised: 0, handle: (*Broker).deleteRecords},
		{key: kmsg.InitProducerID, min: 0, max: 5, advertised: 0, handle: (*Broker).initProducerID},
		{key: kmsg.OffsetForLeaderEpoch, min: 2, max: 4, advertised: 2, handle: (*Broker).offsetForLeaderEpoch},
		{key: kmsg.DescribeConfigs, min: 1, max: 4, advertised: 1, handle: (*Broker).describeConfigs},
		{key: kmsg.AlterConfigs, min: 0, max: 2, advertised: 0, handle: (*Broker).alterConfigs},
		{key: kmsg.DescribeLogDirs, min: 1, max: 5, advertised: 1, handle: (*Broker).describeLogDirs},
		{key: kmsg.CreatePartitions, min: 0, max: 3, advertised: 0, handle: (*Broker).createPartitions},
		{key: kmsg.DeleteGroups, min: 0, max: 3, advertised: 0, handle: (*Broker).deleteGroups},
		{key: kmsg.IncrementalAlterConfigs, min: 0, max: 1, advertised: 0, handle: (*Broker).incrementalAlterConfigs},
		{key: kmsg.OffsetDelete, min: 0, max: 0, advertised: 0, handle: (*Broker).offsetDelete},
		{key: kmsg.DescribeCluster, min: 0, max: 2, advertised: 0, handle: (*Broker).describeCluster},
		{key: kmsg.DescribeTopicPartitions, min: 0, max: 0, advertised: 0, handle: (*Broker).describeTopicPartitions},
	}
}

// byKey indexes the table, so that a request finds its row without a search;
// nil where no API is served.
func byKey(apis []api) []*api {
	index := make([]*api, apis[len(apis)-1].key+1)
	for i := range apis {
		index[apis[i].key] = &apis[i]
	}
	return index
}
