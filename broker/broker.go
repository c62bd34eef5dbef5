// Package broker is the TCP server that speaks the Kafka protocol: listeners,
// connections, one table of APIs and one file for each API.
package broker

import (
	"sluice/broker/group"
	"sluice/offsets"
	"sluice/storage"
)

// Broker answers Kafka requests. It is its configuration plus topics, offsets
// and groups; it holds no state of its own about them.
type Broker struct {
	config  Config
	topics  *storage.Topics
	offsets *offsets.Offsets
	groups  *group.Manager
}
