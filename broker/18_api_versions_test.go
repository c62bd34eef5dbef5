package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestApiVersionsTellsWhatIsServed(t *testing.T) {
	b := told(nil)
	b.apis = table()
	b.byKey = byKey(b.apis)
	for version := int16(0); version <= 5; version++ {
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "apache-kafka-java", "4.4.0"
		resp := ask[*kmsg.ApiVersionsResponse](t, b.apiVersions, req, version)
		if resp.ErrorCode != 0 || len(resp.ApiKeys) != len(table()) {
			t.Errorf("version %d: error %d, %d APIs", version, resp.ErrorCode, len(resp.ApiKeys))
		}
		for _, f := range resp.SupportedFeatures {
			if f.MinVersion < 1 { // kills Java clients before 3.9
				t.Errorf("version %d: feature %s from %d on", version, f.Name, f.MinVersion)
			}
		}
	}
	// Old librdkafka decides by exact versions what the broker can do.
	for key, version := range map[kmsg.Key]int16{
		kmsg.Produce: 0, kmsg.Fetch: 4, kmsg.JoinGroup: 0, kmsg.FindCoordinator: 0, kmsg.SyncGroup: 0, kmsg.Heartbeat: 0,
		kmsg.LeaveGroup: 0, kmsg.OffsetFetch: 1, kmsg.OffsetCommit: 2, kmsg.InitProducerID: 0, kmsg.ListOffsets: 1, kmsg.OffsetForLeaderEpoch: 2,
	} {
		if a := b.byKey[key]; a.advertised > version || a.max < version {
			t.Errorf("%s: %d is not within %d to %d", key.Name(), version, a.advertised, a.max)
		}
	}
}

func TestNoVersionIsServedThatKmsgDoesNotKnow(t *testing.T) {
	last := kmsg.Key(-1)
	for _, a := range table() {
		if a.key <= last {
			t.Errorf("%s is out of order", a.key.Name())
		}
		last = a.key
		if req := a.key.Request(); a.max > req.MaxVersion() || a.min > a.max || a.advertised > a.min {
			t.Errorf("%s: versions %d, %d to %d", a.key.Name(), a.advertised, a.min, a.max)
		}
		if (a.start == nil) == (a.handle == nil) {
			t.Errorf("%s has no handler, or two", a.key.Name())
		}
	}
}

func TestApiVersionsRefusesWhatKafkaRefuses(t *testing.T) {
	b := told(nil)
	b.apis = table()
	b.byKey = byKey(b.apis)
	for _, test := range []struct {
		name, version string
		cluster       *string
		node          int32
		want          int16
	}{
		{"java", "1", nil, -1, 0},
		{"a", "b", nil, -1, 0},
		{"", "1", nil, -1, kerr.InvalidRequest.Code},
		{"java", "", nil, -1, kerr.InvalidRequest.Code},
		{"-java", "1", nil, -1, kerr.InvalidRequest.Code},
		{"ja va", "1", nil, -1, kerr.InvalidRequest.Code},
		{"java", "1\n", nil, -1, kerr.InvalidRequest.Code},
		{"java", "1", &b.config.ClusterID, 1, 0},
		{"java", "1", &b.config.ClusterID, -1, kerr.InvalidRequest.Code},
		{"java", "1", nil, 1, kerr.InvalidRequest.Code},
		{"java", "1", &b.config.ClusterID, 2, kerr.RebootstrapRequired.Code},
		{"java", "1", kmsg.StringPtr("other"), 1, kerr.RebootstrapRequired.Code},
	} {
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion, req.ClusterID, req.NodeID = test.name, test.version, test.cluster, test.node
		if resp := ask[*kmsg.ApiVersionsResponse](t, b.apiVersions, req, 5); resp.ErrorCode != test.want {
			t.Errorf("%+v: got %d", test, resp.ErrorCode)
		}
	}
}
