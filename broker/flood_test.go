package broker

import (
	"bytes"
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// What a crowd leaves behind: nothing. That no goroutine stays is what synctest itself
// checks at the end of the bubble.
func TestAFloodOfHalvesLeavesNothingBehind(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.produce(w.client(), "t", 0, 10)
		fetch := kmsg.NewPtrFetchRequest()
		fetch.Version, fetch.MinBytes, fetch.MaxBytes, fetch.MaxWaitMillis, fetch.SessionEpoch = 11, 1<<30, 1<<30, 1<<31-1, -1
		topic := kmsg.NewFetchRequestTopic()
		topic.Topic = "t"
		for range 1000 { // more than is free of charge
			p := kmsg.NewFetchRequestTopicPartition()
			p.FetchOffset, p.PartitionMaxBytes = 5, 1<<30
			topic.Partitions = append(topic.Partitions, p)
		}
		fetch.Topics = append(fetch.Topics, topic)
		large := append(binary.BigEndian.AppendUint32(nil, 1<<20), 0, 0, 0, 7)
		var crowd []*peer
		for i := range 60 {
			p := w.peer()
			crowd = append(crowd, p)
			switch i % 6 {
			case 0: // a Produce that stops in its middle
				p.write(append(large, make([]byte, 3*readBuffer)...))
			case 1: // a fetch that waits for ever
				p.send(1, fetch)
			case 2: // and requests behind it
				p.send(1, fetch)
				for n := range int32(40) {
					p.send(2+n, fetch)
				}
			case 3:
				p.write([]byte{0, 0})
			case 4:
				p.write(bytes.Repeat([]byte{0xff}, 100))
			}
		}
		synctest.Wait()
		if used := w.broker.otherMemory.used.Load(); used == 0 {
			t.Error("nothing is held while they wait")
		}
		for i, p := range crowd {
			if i%2 == 0 {
				p.hangUp()
			}
		}
		time.Sleep(2 * w.broker.config.IdleTimeout)
		for _, p := range crowd {
			p.hangUp()
		}
		// Who asked for much and took nothing is cut off at the latest by now.
		time.Sleep(10 * w.broker.config.IdleTimeout)
		w.closeClients()
		time.Sleep(time.Minute)
		synctest.Wait()
		for name, b := range map[string]*budget{"produce": w.broker.produceMemory, "large": w.broker.largeMemory,
			"other": w.broker.otherMemory, "answers": w.broker.answerMemory} {
			if used := b.used.Load(); used != 0 {
				t.Errorf("%d bytes of %s memory are held", used, name)
			}
		}
		if open, queued := w.broker.conns.count(); open != 0 || queued != 0 {
			t.Errorf("%d connections, %d requests", open, queued)
		}
	})
}
