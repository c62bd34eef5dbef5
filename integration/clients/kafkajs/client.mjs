// kafkajs, with codecs from npm beside its own gzip. See ../README.md.
import { createInterface } from 'node:readline'
import kafkajs from 'kafkajs'
import lz4 from 'lz4-napi'
import snappy from 'snappy'
import zstd from '@mongodb-js/zstd'

const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = kafkajs

// Kafka's snappy is xerial's framing when Java writes it, and a bare block when
// librdkafka does. A bare block is what a reader must take too.
const xerial = Buffer.from([130, 83, 78, 65, 80, 80, 89, 0])
CompressionCodecs[CompressionTypes.Snappy] = () => ({
  compress: encoder => snappy.compress(encoder.buffer),
  decompress: async buffer => {
    if (!buffer.subarray(0, 8).equals(xerial)) return snappy.uncompress(buffer, { asBuffer: true })
    const blocks = []
    for (let at = 16; at < buffer.length;) {
      const size = buffer.readUInt32BE(at)
      blocks.push(await snappy.uncompress(buffer.subarray(at + 4, at + 4 + size), { asBuffer: true }))
      at += 4 + size
    }
    return Buffer.concat(blocks)
  },
})
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: encoder => lz4.compressFrame(encoder.buffer),
  decompress: buffer => lz4.decompressFrame(buffer),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: encoder => zstd.compress(encoder.buffer),
  decompress: buffer => zstd.decompress(buffer),
})

const codecs = {
  none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD,
}

const decode = field => field === '-' ? null : Buffer.from(field, 'base64')
const encode = value => value === null || value === undefined ? '-' : Buffer.from(value).toString('base64')
const print = (...fields) => process.stdout.write(fields.join('\t') + '\n')

async function create (kafka, topic, partitions) {
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic, numPartitions: Number(partitions), replicationFactor: 1 }] })
  await admin.disconnect()
}

async function produce (kafka, topic, codec) {
  const records = []
  for await (const line of createInterface({ input: process.stdin })) {
    const [partition, , timestamp, key, value, headers] = line.split('\t')
    const pairs = headers.split(',').filter(Boolean).map(h => [h.slice(0, h.indexOf('=')), decode(h.slice(h.indexOf('=') + 1))])
    records.push({
      partition: partition === '-' ? undefined : Number(partition),
      timestamp, key: decode(key), value: decode(value), headers: Object.fromEntries(pairs),
    })
  }
  const producer = kafka.producer({
    idempotent: true, maxInFlightRequests: 1, createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
  })
  await producer.connect()
  // kafkajs tells the base offset of the batch of each partition: the rest follows
  // from the order, which it keeps. So each record names its partition.
  const next = {}
  for (const m of await producer.send({ topic, acks: -1, compression: codecs[codec], messages: records })) {
    next[m.partition] = BigInt(m.baseOffset)
  }
  records.forEach((r, i) => print('acked', i, r.partition, next[r.partition]++))
  await producer.disconnect()
}

async function consume (kafka, topic, groupId) {
  const consumer = kafka.consumer({ groupId })
  consumer.on(consumer.events.GROUP_JOIN, e => print('assigned', (e.payload.memberAssignment[topic] ?? []).join(',')))
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({
    eachMessage: async ({ partition, message: m }) => {
      const headers = Object.entries(m.headers ?? {}).flatMap(([name, value]) =>
        [value].flat().map(v => `${name}=${encode(v)}`))
      print('record', partition, m.offset, m.timestamp, encode(m.key), encode(m.value), headers.join(','))
    },
  })
  for await (const _ of createInterface({ input: process.stdin })) break
  await consumer.disconnect()
}

const [command, brokers, ...rest] = process.argv.slice(2)
await { create, produce, consume }[command](
  new Kafka({ brokers: brokers.split(','), logLevel: logLevel.WARN }), ...rest)
process.exit(0)
