package broker

import (
	"context"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/storage"
)

// DescribeConfigs, versions 1 to 4. A topic has every key that Kafka knows, with
// where its value is from: clients (Kafka Streams) and tools fail if one is
// missing, and copy what is said to be the topic's own. A broker tells its own
// settings. Groups, client metrics and loggers have no configs here: an empty list.
func (b *Broker) describeConfigs(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeConfigsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
	ctx, cancel := within(ctx, 0)
	defer cancel()

	resources := distinct(req.Resources)
	if err := b.expect(ctx, r, configsAnswer*len(resources)); err != nil {
		return nil, err
	}
	resp.Resources = make([]kmsg.DescribeConfigsResponseResource, len(resources))
	each(len(resources), func(i int) {
		resource := resources[i]
		answer := kmsg.NewDescribeConfigsResponseResource()
		answer.ResourceType, answer.ResourceName = resource.ResourceType, resource.ResourceName
		entries, err := b.describeResource(ctx, resource.ResourceType, resource.ResourceName)
		err = inTime(ctx, err)
		answer.ErrorCode, answer.ErrorMessage = errorCode(err), errorMessage(err)
		defer b.turn(r)()
		answer.Configs = make([]kmsg.DescribeConfigsResponseResourceConfig, 0, len(entries))
		for _, e := range entries {
			// Kafka takes an empty list of names like none: all.
			if len(resource.ConfigNames) == 0 || slices.Contains(resource.ConfigNames, e.name) {
				answer.Configs = append(answer.Configs, e.response(req))
			}
		}
		resp.Resources[i] = answer
	})
	return resp, nil
}

// distinct are the resources of a request, each once: an answer is some hundred times
// as large as what asks for it. The first of those that are named twice counts.
func distinct(all []kmsg.DescribeConfigsRequestResource) []*kmsg.DescribeConfigsRequestResource {
	type key struct {
		kind kmsg.ConfigResourceType
		name string
	}
	seen := make(map[key]bool, len(all))
	some := make([]*kmsg.DescribeConfigsRequestResource, 0, len(all))
	for i := range all {
		k := key{all[i].ResourceType, all[i].ResourceName}
		if !seen[k] {
			seen[k] = true
			some = append(some, &all[i])
		}
	}
	return some
}

// describeResource follows Kafka's ConfigHelper.
func (b *Broker) describeResource(ctx context.Context, kind kmsg.ConfigResourceType, name string) ([]configEntry, error) {
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		return b.describeTopicConfigs(ctx, name)
	case kmsg.ConfigResourceTypeBroker:
		if name == "" { // the dynamic defaults of all brokers, of which there are none
			return nil, nil
		}
		if err := b.checkBrokerID(name); err != nil {
			return nil, err
		}
		return b.brokerConfigs(), nil
	case kmsg.ConfigResourceTypeBrokerLogger:
		if name == "" {
			return nil, refuse(kerr.InvalidRequest, "Broker id must not be empty")
		}
		return nil, b.checkBrokerID(name)
	case kmsg.ConfigResourceTypeClientMetrics:
		if name == "" {
			return nil, refuse(kerr.InvalidRequest, "Client metrics subscription name must not be empty")
		}
		return nil, nil
	case kmsg.ConfigResourceTypeGroupConfig:
		if name == "" {
			return nil, refuse(kerr.InvalidRequest, "Group name must not be empty")
		}
		return nil, nil
	}
	return nil, refuse(kerr.InvalidRequest, "Unsupported resource type: %d", kind)
}

// checkBrokerID wants the resource's name to be this broker's id.
func (b *Broker) checkBrokerID(name string) error {
	id, err := strconv.ParseInt(name, 10, 32)
	switch {
	case err != nil:
		return refuse(kerr.InvalidRequest, "Broker id must be an integer, but it is: %.100s", name)
	case int32(id) != b.config.NodeID:
		return refuse(kerr.InvalidRequest, "Unexpected broker id, expected %d or empty string, but received %s", b.config.NodeID, name)
	}
	return nil
}

// describeTopicConfigs reads the topic's configs from its table, without leading it.
func (b *Broker) describeTopicConfigs(ctx context.Context, name string) ([]configEntry, error) {
	if err := storage.ValidName(name); err != nil {
		return nil, err
	}
	topic, err := b.topics.Describe(ctx, name)
	if err != nil {
		return nil, err
	}
	entries := b.topicConfigs(topic.Config)
	for i := range entries {
		switch e := &entries[i]; e.name {
		case "sluice.table.url":
			e.value = kmsg.StringPtr(topic.URL)
		case "sluice.table.version":
			e.value = kmsg.StringPtr(strconv.FormatInt(topic.Version, 10))
		}
	}
	return entries, nil
}

// response is the entry as the request wants it.
func (e configEntry) response(req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	c := kmsg.NewDescribeConfigsResponseResourceConfig()
	c.Name, c.Value, c.ReadOnly = e.name, e.value, e.readOnly
	c.Source, c.IsDefault = e.source, e.source == kmsg.ConfigSourceDefaultConfig
	c.ConfigType = kmsg.ConfigType(e.kind)
	c.ConfigSynonyms = []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{}
	if req.IncludeSynonyms {
		for _, s := range e.synonyms {
			synonym := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			synonym.Name, synonym.Value, synonym.Source = s.name, kmsg.StringPtr(s.value), s.source
			c.ConfigSynonyms = append(c.ConfigSynonyms, synonym)
		}
	}
	if req.IncludeDocumentation {
		c.Documentation = &e.doc
	}
	return c
}
