package broker

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/storage"
)

// IncrementalAlterConfigs, versions 0 and 1 (KIP-339): sets and deletes single
// configs of topics, and adds to or takes from those that are lists. A resource
// changes as a whole or not at all.
func (b *Broker) incrementalAlterConfigs(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.IncrementalAlterConfigsRequest)
	resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	ctx, cancel := within(ctx, 0)
	defer cancel()

	times := map[configResource]int{}
	for _, resource := range req.Resources {
		times[configResource{resource.ResourceType, resource.ResourceName}]++
	}
	resp.Resources = make([]kmsg.IncrementalAlterConfigsResponseResource, len(req.Resources))
	each(len(req.Resources), func(i int) {
		resource := &req.Resources[i]
		target := configResource{resource.ResourceType, resource.ResourceName}
		names, nulls := make([]string, len(resource.Configs)), []string(nil)
		for j, c := range resource.Configs {
			names[j] = c.Name
			if c.Value == nil && c.Op != kmsg.IncrementalAlterConfigOpDelete {
				nulls = append(nulls, c.Name)
			}
		}
		err := checkAlteration(times[target], names, nulls)
		if err == nil {
			err = b.alterResource(ctx, target, req.ValidateOnly, func(own map[string]string) (map[string]string, error) {
				return applyOps(own, b.topicDefaults(), resource.Configs)
			})
		}
		answer := kmsg.NewIncrementalAlterConfigsResponseResource()
		answer.ResourceType, answer.ResourceName = resource.ResourceType, resource.ResourceName
		err = inTime(ctx, err)
		answer.ErrorCode, answer.ErrorMessage = errorCode(err), errorMessage(err)
		resp.Resources[i] = answer
	})
	return resp, nil
}

// applyOps makes a topic's new configuration. A list that the topic does not have
// of its own begins with its default.
func applyOps(own, defaults map[string]string, ops []kmsg.IncrementalAlterConfigsRequestResourceConfig) (map[string]string, error) {
	wanted := maps.Clone(own)
	if wanted == nil {
		wanted = map[string]string{}
	}
	for _, op := range ops {
		switch op.Op {
		case kmsg.IncrementalAlterConfigOpSet:
			wanted[op.Name] = *op.Value
		case kmsg.IncrementalAlterConfigOpDelete:
			// Fine if it is not set, and even if there is no such config, as in Kafka.
			delete(wanted, op.Name)
		case kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract:
			key, known := storage.LookupConfig(op.Name)
			if known && key.Type != storage.ConfigList {
				return nil, refuse(kerr.InvalidConfig, "Can't %s to key %s because its type is not LIST.", op.Op, op.Name)
			}
			list := key.Default
			if v, ok := defaults[op.Name]; ok {
				list = v
			}
			if v, ok := wanted[op.Name]; ok {
				list = v
			}
			wanted[op.Name] = changeList(list, *op.Value, op.Op == kmsg.IncrementalAlterConfigOpAppend)
		default:
			return nil, refuse(kerr.InvalidRequest, "Unknown operation type %d for config %s", op.Op, op.Name)
		}
	}
	return wanted, nil
}

// changeList adds items to a list that are not in it, or takes out those that are.
func changeList(list, change string, add bool) string {
	items := storage.SplitList(list)
	for _, item := range storage.SplitList(change) {
		at := slices.Index(items, item)
		switch {
		case add && at < 0:
			items = append(items, item)
		case !add && at >= 0:
			items = slices.Delete(items, at, at+1)
		}
	}
	return strings.Join(items, ",")
}
