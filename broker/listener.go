package broker

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// ErrListener says that a setting of listeners cannot be used; the text says
// which and why.
var ErrListener = errors.New("listeners")

// Listener is one address that clients come in on and how they find back to it.
type Listener struct {
	Name string // as in the setting, upper case
	Bind string // host:port to listen at; an empty host means all addresses
	// Host and Port are what answers name this broker by on this listener. Port 0
	// means the port that was bound.
	Host string
	Port int32
}

// localhost is advertised when the listener is bound to all addresses and nothing
// else was said: right for one machine, including a container with its port
// published, which a guessed host name would not be.
const localhost = "localhost"

// ParseListeners reads Kafka's settings listeners, advertised.listeners and
// listener.security.protocol.map (the last two may be empty), each a list with
// commas: NAME://host:port and NAME:PROTOCOL. The errors wrap ErrListener.
func ParseListeners(listeners, advertised, securityMap string) ([]Listener, error) {
	security, err := parseSecurityMap(securityMap)
	if err != nil {
		return nil, err
	}
	bound, err := parseEndpoints("listeners", listeners)
	if err != nil {
		return nil, err
	}
	if len(bound) == 0 {
		return nil, fmt.Errorf("%w: none given", ErrListener)
	}
	told, err := parseEndpoints("advertised.listeners", advertised)
	if err != nil {
		return nil, err
	}

	result := make([]Listener, 0, len(bound))
	for _, e := range bound {
		protocol, ok := security[e.name]
		if !ok {
			protocol = e.name // Kafka's default map: a protocol's name stands for itself
		}
		if err := checkProtocol(e.name, protocol, ok); err != nil {
			return nil, err
		}
		l := Listener{Name: e.name, Bind: net.JoinHostPort(e.host, strconv.Itoa(int(e.port))), Host: e.host, Port: e.port}
		if unspecified(l.Host) {
			l.Host = localhost
		}
		for _, a := range told {
			if a.name != e.name {
				continue
			}
			if unspecified(a.host) {
				return nil, fmt.Errorf("%w: advertised.listeners: %s names no host that a client could connect to", ErrListener, a.name)
			}
			l.Host, l.Port = a.host, a.port
		}
		result = append(result, l)
	}
	for _, a := range told {
		if !has(bound, a.name) {
			return nil, fmt.Errorf("%w: advertised.listeners: %s is not one of the listeners", ErrListener, a.name)
		}
	}
	return result, nil
}

// checkProtocol refuses what is not served: a client that expects TLS or SASL
// must not be let in without.
func checkProtocol(name, protocol string, mapped bool) error {
	switch protocol {
	case "PLAINTEXT":
		return nil
	case "SSL", "SASL_PLAINTEXT", "SASL_SSL":
		return fmt.Errorf("%w: %s: security protocol %s is not supported, only PLAINTEXT", ErrListener, name, protocol)
	}
	if mapped {
		return fmt.Errorf("%w: %s: unknown security protocol %q", ErrListener, name, protocol)
	}
	return fmt.Errorf("%w: %s: no security protocol in listener.security.protocol.map", ErrListener, name)
}

// endpoint is one NAME://host:port.
type endpoint struct {
	name, host string
	port       int32
}

func has(endpoints []endpoint, name string) bool {
	for _, e := range endpoints {
		if e.name == name {
			return true
		}
	}
	return false
}

func parseEndpoints(setting, list string) ([]endpoint, error) {
	var endpoints []endpoint
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		name, address, ok := strings.Cut(item, "://")
		if !ok || !legalName(name) {
			return nil, fmt.Errorf("%w: %s: %q is not NAME://host:port", ErrListener, setting, item)
		}
		host, portText, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %q is not NAME://host:port", ErrListener, setting, item)
		}
		port, err := strconv.ParseUint(portText, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %q: no such port", ErrListener, setting, item)
		}
		e := endpoint{name: strings.ToUpper(name), host: host, port: int32(port)}
		if has(endpoints, e.name) {
			return nil, fmt.Errorf("%w: %s: %s is given twice", ErrListener, setting, e.name)
		}
		endpoints = append(endpoints, e)
	}
	return endpoints, nil
}

// parseSecurityMap reads NAME:PROTOCOL,NAME:PROTOCOL.
func parseSecurityMap(list string) (map[string]string, error) {
	protocols := map[string]string{}
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		name, protocol, ok := strings.Cut(item, ":")
		if !ok || !legalName(name) {
			return nil, fmt.Errorf("%w: listener.security.protocol.map: %q is not NAME:PROTOCOL", ErrListener, item)
		}
		name = strings.ToUpper(name)
		if _, twice := protocols[name]; twice {
			return nil, fmt.Errorf("%w: listener.security.protocol.map: %s is given twice", ErrListener, name)
		}
		protocols[name] = strings.ToUpper(strings.TrimSpace(protocol))
	}
	return protocols, nil
}

// legalName reports whether a listener may be called so: letters, digits, . _ -
// (EndPoint.parseListenerName of Kafka).
func legalName(name string) bool {
	for _, r := range name {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '_', r == '-':
		default:
			return false
		}
	}
	return name != ""
}

// unspecified reports whether a host means "all addresses", which nobody can
// connect to.
func unspecified(host string) bool {
	if host == "" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsUnspecified()
}

// address is what the listener advertises, as host:port.
func (l *Listener) address() string { return net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port))) }
