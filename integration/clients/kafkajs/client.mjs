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

function show (partition, m) {
  const headers = Object.entries(m.headers ?? {}).flatMap(([name, value]) =>
    [value].flat().map(v => `${name}=${encode(v)}`))
  print('record', partition, m.offset, m.timestamp, encode(m.key), encode(m.value), headers.join(','))
}

// Its consumer always is a member of a group: one of its own, from sought places.
async function read (kafka, topic, count, from) {
  const [kind, number] = from.split('=')
  const admin = kafka.admin()
  await admin.connect()
  const places = kind === 'timestamp'
    ? await admin.fetchTopicOffsetsByTimestamp(topic, Number(number))
    : (await admin.fetchTopicOffsets(topic)).map(p => ({ partition: p.partition, offset: kind === 'offset' ? number : p.low }))
  const consumer = kafka.consumer({ groupId: `reader-${process.pid}-${Date.now()}` })
  await consumer.connect()
  await consumer.subscribe({ topic })
  let left = Number(count)
  await new Promise(resolve => {
    consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message: m }) => {
        show(partition, m)
        if (--left === 0) resolve()
      },
    })
    for (const { partition, offset } of places) consumer.seek({ topic, partition, offset })
  })
  await consumer.disconnect()
  await admin.disconnect()
}

async function consume (kafka, topic, groupId) {
  const consumer = kafka.consumer({ groupId, sessionTimeout: 10000, heartbeatInterval: 1000 })
  consumer.on(consumer.events.GROUP_JOIN, e => print('assigned', (e.payload.memberAssignment[topic] ?? []).join(',')))
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({ eachMessage: async ({ partition, message: m }) => show(partition, m) })
  for await (const _ of createInterface({ input: process.stdin })) break
  await consumer.disconnect()
}

async function admin (kafka, topic, groupId) {
  const admin = kafka.admin()
  await admin.connect()
  const partitions = async () => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length
  const offsets = async () => (await admin.fetchOffsets({ groupId, topics: [topic] }))[0].partitions
    .filter(p => p.offset !== '-1')
  const sum = of => of.reduce((total, n) => total + Number(n), 0)
  const calls = {
    brokers: async () => (await admin.describeCluster()).brokers.length,
    topics: async () => (await admin.listTopics()).includes(topic) ? 'yes' : 'no',
    partitions,
    config: async () => {
      await admin.alterConfigs({ validateOnly: false, resources: [
        { type: kafkajs.ConfigResourceTypes.TOPIC, name: topic, configEntries: [{ name: 'retention.ms', value: '3600000' }] }] })
      const answer = await admin.describeConfigs({ includeSynonyms: false, resources: [
        { type: kafkajs.ConfigResourceTypes.TOPIC, name: topic, configNames: ['retention.ms'] }] })
      return answer.resources[0].configEntries[0].configValue
    },
    ends: async () => sum((await admin.fetchTopicOffsets(topic)).map(p => p.high)),
    'delete-records': async () => {
      await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '5' }] })
      return (await admin.fetchTopicOffsets(topic)).find(p => p.partition === 0).low
    },
    groups: async () => (await admin.listGroups()).groups.some(g => g.groupId === groupId) ? 'yes' : 'no',
    group: async () => (await admin.describeGroups([groupId])).groups[0].state,
    'group-offsets': async () => sum((await offsets()).map(p => p.offset)),
    'alter-offsets': async () => {
      await admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: '3' }] })
      return (await offsets()).find(p => p.partition === 0).offset
    },
    'delete-group': async () => { await admin.deleteGroups([groupId]); return 'done' },
    'add-partitions': async () => {
      await admin.createPartitions({ topicPartitions: [{ topic, count: 6 }] })
      return partitions()
    },
    'delete-topic': async () => { await admin.deleteTopics({ topics: [topic] }); return 'done' },
  }
  for (const [name, call] of Object.entries(calls)) {
    try {
      print('admin', name, await call())
    } catch (e) {
      print('failed', name, String(e))
    }
  }
  await admin.disconnect()
}

const [command, brokers, ...rest] = process.argv.slice(2)
await { create, produce, read, consume, admin }[command](
  new Kafka({ brokers: brokers.split(','), logLevel: logLevel.WARN }), ...rest)
// Not before the pipe has taken all: exit drops the rest.
process.stdout.write('', () => process.exit(0))
