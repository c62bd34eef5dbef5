package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/parquet-go/parquet-go"

	"sluice/storage/object"
)

// readCheckpoint builds the state that a classic checkpoint holds [P Checkpoint Schema].
func readCheckpoint(ctx context.Context, store object.Store, version int64, objects []object.Info) (*state, error) {
	s := newState()
	s.version = version
	protocols, metadatas := 0, 0
	for _, info := range objects {
		err := withParquet(ctx, store, info, false, func(file *parquet.File) error {
			return eachDocument(file, func(d *document) error {
				switch {
				case d.has("add.path"):
					return s.checkpointAdd(d)
				case d.has("remove.path"):
					path := d.text("remove.path")
					s.tombstones[nameOf(path)] = tombstone{path: path, deleted: d.number("remove.deletionTimestamp")}
				case d.has("txn.appId"):
					s.txns[d.text("txn.appId")] = d.number("txn.version")
				case d.has("metaData.id"):
					metadatas++
					s.metadata = d.metadata()
				case d.has("protocol.minReaderVersion"):
					protocols++
					s.protocol = protocol{
						MinReaderVersion: int(d.number("protocol.minReaderVersion")), MinWriterVersion: int(d.number("protocol.minWriterVersion")),
						ReaderFeatures: d.list("protocol.readerFeatures"), WriterFeatures: d.list("protocol.writerFeatures"),
					}
				}
				return nil
			})
		})
		if errors.Is(err, object.ErrNotFound) {
			return nil, errCleaned
		}
		if err != nil {
			return nil, err
		}
	}
	if protocols != 1 || metadatas != 1 {
		return nil, fmt.Errorf("%w: it has %d protocol and %d metaData actions", errUnreadable, protocols, metadatas)
	}
	return s, nil
}

func (d *document) has(path string) bool {
	_, ok := d.value(path)
	return ok
}

func (s *state) checkpointAdd(d *document) error {
	path := d.text("add.path")
	name := nameOf(path)
	if _, twice := s.files[name]; twice {
		return fmt.Errorf("%w: file %.200s is in it twice", errUnreadable, path)
	}
	s.files[name] = liveFile{
		path: path, size: d.number("add.size"), modified: d.number("add.modificationTime"),
		stats: d.text("add.stats"), tags: d.pairs("add.tags"),
	}
	return nil
}

func (d *document) metadata() metadata {
	return metadata{
		ID: d.text("metaData.id"), Name: d.text("metaData.name"), SchemaString: d.text("metaData.schemaString"),
		PartitionColumns: d.list("metaData.partitionColumns"), Configuration: d.pairs("metaData.configuration"),
		CreatedTime: d.number("metaData.createdTime"),
	}
}

// checkHint judges _last_checkpoint [P Last Checkpoint File], which readers take as
// the place from which to list.
func (c *checker) checkHint() error {
	const do = "Delete _delta_log/_last_checkpoint: readers do without it, and the next checkpoint writes it anew."
	newest := c.listing.newestCheckpoint()
	if c.listing.hint == nil {
		if newest >= 0 {
			c.report(Info, wholeTable, "Nothing: the next checkpoint writes it.", "no _last_checkpoint, though there is a checkpoint of version %d: readers list the whole log", newest)
		}
		return nil
	}
	o, err := c.store.Get(c.ctx, c.listing.hint.Key, object.Range{Length: 16 << 20})
	if errors.Is(err, object.ErrNotFound) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	var hint struct {
		Version     *int64 `json:"version"`
		SizeInBytes int64  `json:"sizeInBytes"`
		Parts       int    `json:"parts"`
	}
	if err := json.Unmarshal(o.Body, &hint); err != nil || hint.Version == nil {
		c.report(Error, wholeTable, do, "_last_checkpoint is not JSON with a version")
		return nil
	}
	named, there := c.listing.checkpoints[*hint.Version]
	switch {
	case *hint.Version > newest && o.Modified.After(c.listing.hint.Modified):
		// It has moved on since the log was listed.
	case !there:
		c.report(Warning, atVersion(*hint.Version), do, "_last_checkpoint names a checkpoint that is not there")
	case *hint.Version < newest:
		c.report(Info, atVersion(*hint.Version), "Nothing: the next checkpoint moves it on.", "_last_checkpoint is behind the newest checkpoint, %d", newest)
	case hint.SizeInBytes > 0 && named.of == 1 && hint.SizeInBytes != named.parts[1].Size:
		c.report(Warning, atVersion(*hint.Version), do, "_last_checkpoint says that the checkpoint has %d bytes; it has %d", hint.SizeInBytes, named.parts[1].Size)
	}
	return nil
}
