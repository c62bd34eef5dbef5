package delta

import (
	"encoding/json"
	"slices"
	"strconv"
)

// Table features that Sluice knows by name [P Table Features].
const (
	FeatureAppendOnly        = "appendOnly"
	FeatureInvariants        = "invariants"
	FeatureChangeDataFeed    = "changeDataFeed"
	FeatureInCommitTimestamp = "inCommitTimestamp"
	// FeatureSluice is private: every conforming foreign writer refuses a table
	// that has it, while readers of version 1 do not look at writer features.
	FeatureSluice = "sluice"
)

// KnownFeatures are the writer features whose rules the log keeps by itself:
// checkpoints and cleanup of tables with these are right. A committer passes to
// CanWrite those that it keeps as well.
var KnownFeatures = []string{FeatureAppendOnly, FeatureInvariants, FeatureChangeDataFeed, FeatureInCommitTimestamp, FeatureSluice}

// Protocol is the protocol action [P Protocol Evolution].
type Protocol struct {
	MinReaderVersion int      `json:"minReaderVersion"`
	MinWriterVersion int      `json:"minWriterVersion"`
	ReaderFeatures   []string `json:"readerFeatures"` // exactly with reader version 3
	WriterFeatures   []string `json:"writerFeatures"` // exactly with writer version 7
}

// MarshalJSON writes the feature lists exactly where the protocol wants them:
// a list that is null or absent with version 7 (3), or present below it, makes
// readers refuse the table.
func (p Protocol) MarshalJSON() ([]byte, error) {
	type wire struct {
		MinReaderVersion int       `json:"minReaderVersion"`
		MinWriterVersion int       `json:"minWriterVersion"`
		ReaderFeatures   *[]string `json:"readerFeatures,omitempty"`
		WriterFeatures   *[]string `json:"writerFeatures,omitempty"`
	}
	w := wire{MinReaderVersion: p.MinReaderVersion, MinWriterVersion: p.MinWriterVersion}
	if p.MinReaderVersion >= 3 {
		w.ReaderFeatures = present(p.ReaderFeatures)
	}
	if p.MinWriterVersion >= 7 {
		w.WriterFeatures = present(p.WriterFeatures)
	}
	return json.Marshal(w)
}

// present is a pointer to list that never marshals to null.
func present(list []string) *[]string {
	if list == nil {
		list = []string{}
	}
	return &list
}

// CanRead reports as an *UnsupportedError what keeps Sluice from reading the
// table. Everything above reader version 1 changes what the files mean.
func (p Protocol) CanRead() error {
	switch {
	case p.MinReaderVersion <= 1:
		return nil
	case p.MinReaderVersion == 2:
		return &UnsupportedError{Feature: "columnMapping"}
	case p.MinReaderVersion == 3 && len(p.ReaderFeatures) > 0:
		return &UnsupportedError{Feature: joinFeatures(p.ReaderFeatures)}
	}
	return &UnsupportedError{Feature: "reader version " + strconv.Itoa(p.MinReaderVersion)}
}

// legacyFeatures are the features that writer versions below 7 imply
// [P Valid Feature Names in Table Features].
var legacyFeatures = []struct {
	version int
	feature string
}{
	{2, FeatureAppendOnly}, {2, FeatureInvariants}, {3, "checkConstraints"}, {4, FeatureChangeDataFeed},
	{4, "generatedColumns"}, {5, "columnMapping"}, {6, "identityColumns"},
}

// CanWrite reports as an *UnsupportedError which features of the table are not
// among known. It implies CanRead.
func (p Protocol) CanWrite(known ...string) error {
	if err := p.CanRead(); err != nil {
		return err
	}
	if p.MinWriterVersion > 7 {
		return &UnsupportedError{Feature: "writer version " + strconv.Itoa(p.MinWriterVersion), Write: true}
	}
	var missing []string
	need := func(feature string) {
		if !slices.Contains(known, feature) {
			missing = append(missing, feature)
		}
	}
	if p.MinWriterVersion == 7 {
		for _, feature := range p.WriterFeatures {
			need(feature)
		}
	} else {
		for _, legacy := range legacyFeatures {
			if legacy.version <= p.MinWriterVersion {
				need(legacy.feature)
			}
		}
	}
	if missing == nil {
		return nil
	}
	return &UnsupportedError{Feature: joinFeatures(missing), Write: true}
}

// maxFeatureNames bounds an error text that is made of another writer's bytes.
const maxFeatureNames = 8

func joinFeatures(names []string) string {
	text := ""
	for i, name := range names {
		if i == maxFeatureNames {
			return text + ", ..."
		}
		if i > 0 {
			text += ", "
		}
		if len(name) > 64 {
			name = name[:64] + "..."
		}
		text += name
	}
	return text
}
