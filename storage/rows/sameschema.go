package rows

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// CheckSchema says why a table with this Delta schema is not a topic's any more, or
// nil. The order of the columns, comments and other metadata of theirs do not count, as
// long as they ask nothing of writers.
func CheckSchema(schemaString string) error {
	got, err := schemaColumns(schemaString)
	if err != nil {
		return err
	}
	want, err := schemaColumns(SchemaString)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		switch column, ok := got[name]; {
		case !ok:
			return fmt.Errorf("the column %s is missing", name)
		case !reflect.DeepEqual(column, want[name]):
			return fmt.Errorf("the column %s has another type", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			return fmt.Errorf("there is another column, %.64q", name)
		}
	}
	return nil
}

// schemaColumns are a schema's columns by name, as JSON values without metadata.
func schemaColumns(schema string) (map[string]any, error) {
	var doc struct {
		Fields []map[string]any `json:"fields"`
	}
	if err := json.Unmarshal([]byte(schema), &doc); err != nil {
		return nil, fmt.Errorf("it cannot be read: %w", err)
	}
	columns := map[string]any{}
	for _, field := range doc.Fields {
		name, _ := field["name"].(string)
		if err := stripMetadata(field); err != nil {
			return nil, fmt.Errorf("the column %.64q %w", name, err)
		}
		columns[name] = field
	}
	return columns, nil
}

// stripMetadata takes the metadata out of a field and of those in it. Invariants,
// generated columns, column mapping and the like stand there under names of Delta's.
func stripMetadata(value any) error {
	switch v := value.(type) {
	case map[string]any:
		if metadata, ok := v["metadata"].(map[string]any); ok {
			for key := range metadata {
				if strings.HasPrefix(key, "delta.") {
					return fmt.Errorf("has the property %.64q", key)
				}
			}
			delete(v, "metadata")
		}
		for _, inner := range v {
			if err := stripMetadata(inner); err != nil {
				return err
			}
		}
	case []any:
		for _, inner := range v {
			if err := stripMetadata(inner); err != nil {
				return err
			}
		}
	}
	return nil
}
