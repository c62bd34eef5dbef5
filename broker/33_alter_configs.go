package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/storage"
)

// AlterConfigs, versions 0 to 2: the given configs replace all that a topic has of
// its own; what is not named goes back to its default. Newer clients use
// IncrementalAlterConfigs. Only topics have configs that can be altered.
func (b *Broker) alterConfigs(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.AlterConfigsRequest)
	resp := req.ResponseKind().(*kmsg.AlterConfigsResponse)
	ctx, cancel := within(ctx, 0)
	defer cancel()

	times := map[configResource]int{}
	for _, resource := range req.Resources {
		times[configResource{resource.ResourceType, resource.ResourceName}]++
	}
	resp.Resources = make([]kmsg.AlterConfigsResponseResource, len(req.Resources))
	each(len(req.Resources), func(i int) {
		resource := &req.Resources[i]
		target := configResource{resource.ResourceType, resource.ResourceName}
		names, nulls := make([]string, len(resource.Configs)), []string(nil)
		for j, c := range resource.Configs {
			names[j] = c.Name
			if c.Value == nil {
				nulls = append(nulls, c.Name)
			}
		}
		err := checkAlteration(times[target], names, nulls)
		if err == nil {
			err = b.alterResource(ctx, target, req.ValidateOnly, func(own map[string]string) (map[string]string, error) {
				replaced := make(map[string]string, len(resource.Configs))
				for _, c := range resource.Configs {
					replaced[c.Name] = *c.Value
				}
				return replaced, nil
			})
		}
		answer := kmsg.NewAlterConfigsResponseResource()
		answer.ResourceType, answer.ResourceName = resource.ResourceType, resource.ResourceName
		err = inTime(ctx, err)
		answer.ErrorCode, answer.ErrorMessage = errorCode(err), errorMessage(err)
		resp.Resources[i] = answer
	})
	return resp, nil
}

// configResource is what has configs: a topic, a broker, ...
type configResource struct {
	kind kmsg.ConfigResourceType
	name string
}

// checkAlteration refuses what Kafka's ConfigAdminManager does before anything
// else: a resource or a key that is given twice, and values that are null.
func checkAlteration(times int, names, nulls []string) error {
	if times > 1 {
		return refuse(kerr.InvalidRequest, "Each resource must appear at most once.")
	}
	seen := make(map[string]bool, len(names))
	for _, name := range names {
		if seen[name] {
			return refuse(kerr.InvalidRequest, "Error due to duplicate config keys")
		}
		seen[name] = true
	}
	if len(nulls) > 0 {
		return refuse(kerr.InvalidRequest, "Null value not supported for : %s", nulls[0])
	}
	return nil
}

// alterResource changes the configs that a topic has of its own to what change
// makes of them. Nothing is committed if that is the same, or not legal as a whole.
func (b *Broker) alterResource(ctx context.Context, target configResource, validateOnly bool, change func(own map[string]string) (map[string]string, error)) error {
	switch target.kind {
	case kmsg.ConfigResourceTypeTopic:
	case kmsg.ConfigResourceTypeBroker:
		if target.name != "" {
			if err := b.checkBrokerID(target.name); err != nil {
				return err
			}
		}
		return refuse(kerr.InvalidRequest, "Cannot update broker configs dynamically: they are read when the broker starts.")
	case kmsg.ConfigResourceTypeBrokerLogger, kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeGroupConfig:
		return refuse(kerr.InvalidRequest, "Configs of resource type %s are not supported.", target.kind)
	default:
		return refuse(kerr.InvalidRequest, "Unknown resource type %d", target.kind)
	}

	if target.name == "" {
		return refuse(kerr.InvalidRequest, "Default topic resources are not allowed.")
	}
	topic, err := b.topic(ctx, target.name)
	if err != nil {
		return err
	}
	legal := func(own map[string]string) (map[string]string, error) {
		wanted, err := change(own)
		if err == nil {
			_, err = storage.ParseSettings(wanted, b.topicDefaults())
		}
		return wanted, err
	}
	if validateOnly {
		_, err := legal(topic.Config())
		return err
	}
	return topic.Alter(ctx, legal)
}
