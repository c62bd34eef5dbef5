package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Kinds of endpoints in DescribeCluster v1+ (KIP-919).
const (
	endpointBroker     = 1
	endpointController = 2
)

// DescribeCluster, versions 0 to 2 (KIP-700): this broker, as the listener that
// the request came in on advertises it; it is its own controller.
func (b *Broker) describeCluster(_ context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeClusterRequest)
	resp := req.ResponseKind().(*kmsg.DescribeClusterResponse)

	if r.version >= 1 && req.EndpointType != endpointBroker {
		err := refuse(kerr.UnsupportedEndpointType, "Unsupported endpoint type %d", req.EndpointType)
		if req.EndpointType == endpointController {
			err = refuse(kerr.MismatchedEndpointType, "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER")
		}
		resp.ErrorCode, resp.ErrorMessage = errorCode(err), errorMessage(err)
		return resp, nil
	}

	resp.EndpointType = endpointBroker
	resp.ClusterID = b.config.ClusterID
	resp.ControllerID = b.config.NodeID
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = clusterOperations
	}
	node := kmsg.NewDescribeClusterResponseBroker()
	node.NodeID, node.Host, node.Port = b.config.NodeID, r.listener.Host, r.listener.Port
	node.Rack = b.rack()
	resp.Brokers = append(resp.Brokers, node)
	return resp, nil
}
