package broker

import (
	"context"
	"regexp"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ApiVersions, versions 0 to 5. It answers from the table of APIs. A version
// from the future is answered in version 0 with UNSUPPORTED_VERSION and this API's
// own row only, by which clients find the version to ask again with (KIP-511).
// Version 5 may name the cluster and node that the client takes this for;
// REBOOTSTRAP_REQUIRED tells it that it is wrong (KIP-1242).

// legalSoftware is what the name and version of a client library must look like (KIP-511).
var legalSoftware = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

// Feature levels (KIP-584). metadata.version tells tools which Kafka this is
// like: 30 is 4.3. Features that are not served are not told; their level 0 would also
// make old Java clients fail (KAFKA-17492).
const (
	metadataVersion    = 30
	metadataVersionMin = 7 // 3.3-IV3, the oldest that Kafka 4 knows
)

func (b *Broker) apiVersions(_ context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.ApiVersionsRequest)
	resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
	resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{}
	switch {
	case r.unsupported:
		resp.ErrorCode = kerr.UnsupportedVersion.Code
		resp.ApiKeys = append(resp.ApiKeys, b.byKey[kmsg.ApiVersions].told())
		return resp, nil
	case req.Version >= 3 && !(legalSoftware.MatchString(req.ClientSoftwareName) && legalSoftware.MatchString(req.ClientSoftwareVersion)):
		resp.ErrorCode = kerr.InvalidRequest.Code
		return resp, nil
	case req.Version >= 5 && (req.ClusterID == nil) != (req.NodeID < 0):
		resp.ErrorCode = kerr.InvalidRequest.Code // both or none
		return resp, nil
	case req.Version >= 5 && b.mistaken(req):
		resp.ErrorCode = kerr.RebootstrapRequired.Code
		return resp, nil
	}
	for i := range b.apis {
		resp.ApiKeys = append(resp.ApiKeys, b.apis[i].told())
	}
	supported := kmsg.NewApiVersionsResponseSupportedFeature()
	supported.Name, supported.MinVersion, supported.MaxVersion = "metadata.version", metadataVersionMin, metadataVersion
	finalized := kmsg.NewApiVersionsResponseFinalizedFeature()
	finalized.Name, finalized.MinVersionLevel, finalized.MaxVersionLevel = "metadata.version", metadataVersion, metadataVersion
	resp.SupportedFeatures = append(resp.SupportedFeatures, supported)
	resp.FinalizedFeatures = append(resp.FinalizedFeatures, finalized)
	resp.FinalizedFeaturesEpoch = 0
	return resp, nil
}

// mistaken reports whether the client takes this broker for another one.
func (b *Broker) mistaken(req *kmsg.ApiVersionsRequest) bool {
	return req.ClusterID != nil && (*req.ClusterID != b.config.ClusterID || req.NodeID != b.config.NodeID)
}

// told is what ApiVersions says of an API.
func (a *api) told() kmsg.ApiVersionsResponseApiKey {
	k := kmsg.NewApiVersionsResponseApiKey()
	k.ApiKey, k.MinVersion, k.MaxVersion = a.key.Int16(), a.advertised, a.max
	return k
}
