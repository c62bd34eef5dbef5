package main

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"sluice/storage"
)

// effectiveListeners prepares Kafka's settings for the broker, which reads them
// strictly, by what the images of Kafka add to them:
//
//   - Without listeners they are the advertised ones, on all addresses.
//   - A controller's listeners are left out: there is no controller.
//   - An advertised listener without a host is at localhost.
func effectiveListeners(listeners, advertised, controllers string) (string, string) {
	told := withoutControllers(storage.SplitList(advertised), controllers)
	bound := withoutControllers(storage.SplitList(listeners), controllers)
	if len(bound) == 0 {
		for _, l := range told {
			if name, address, ok := strings.Cut(l, "://"); ok {
				if _, port, err := net.SplitHostPort(address); err == nil {
					l = name + "://:" + port
				}
			}
			bound = append(bound, l)
		}
	}
	if len(bound) == 0 {
		bound = []string{defaultListeners}
	}
	for i, l := range told {
		if name, port, ok := strings.Cut(l, "://:"); ok {
			told[i] = name + "://localhost:" + port
		}
	}
	return strings.Join(bound, ","), strings.Join(told, ",")
}

// withoutControllers drops the listeners that controller.listener.names names.
// CONTROLLER is its value in every compose file, and is dropped without it.
func withoutControllers(listeners []string, controllers string) []string {
	names := append(storage.SplitList(controllers), "CONTROLLER")
	return slices.DeleteFunc(listeners, func(l string) bool {
		name, _, _ := strings.Cut(l, "://")
		return slices.ContainsFunc(names, func(c string) bool { return strings.EqualFold(c, strings.TrimSpace(name)) })
	})
}

// isAddress reports whether s is host:port, with or without the host.
func isAddress(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}
