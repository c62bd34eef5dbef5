// @confluentinc/kafka-javascript: librdkafka for Node.js. Records go by its own API,
// which tells the offset of each; admin calls by that in the form of kafkajs, as there
// is no other. See ../README.md.
import { createInterface } from 'node:readline'
import confluent from '@confluentinc/kafka-javascript'

const { Producer, KafkaConsumer, KafkaJS } = confluent

const decode = field => field === '-' ? null : Buffer.from(field, 'base64')
const encode = value => value === null || value === undefined ? '-' : Buffer.from(value).toString('base64')
const print = (...fields) => process.stdout.write(fields.join('\t') + '\n')
const fail = error => { console.error(error); process.exit(1) }

// Its calls end with a callback.
const done = call => new Promise((resolve, reject) => call((error, answer) => error ? reject(error) : resolve(answer)))

const admins = async brokers => {
  const admin = new KafkaJS.Kafka({ kafkaJS: { brokers: [brokers], logLevel: KafkaJS.logLevel.WARN } }).admin()
  await admin.connect()
  return admin
}

async function create (brokers, topic, partitions) {
  const admin = await admins(brokers)
  await admin.createTopics({ topics: [{ topic, numPartitions: Number(partitions), replicationFactor: 1 }] })
  await admin.disconnect()
}

async function produce (brokers, topic, codec) {
  const producer = new Producer({
    'bootstrap.servers': brokers, 'enable.idempotence': true, 'compression.type': codec, 'linger.ms': 20, dr_cb: true,
  })
  producer.on('event.error', fail)
  await done(cb => producer.connect({}, cb))
  producer.setPollInterval(20)
  let sent = 0; let acked = 0; let all
  const finished = new Promise(resolve => { all = resolve })
  let ended = false
  producer.on('delivery-report', (error, report) => {
    if (error) fail(error)
    print('acked', report.opaque, report.partition, report.offset)
    if (++acked === sent && ended) all()
  })
  for await (const line of createInterface({ input: process.stdin })) {
    const [partition, , timestamp, key, value, headers] = line.split('\t')
    const pairs = headers.split(',').filter(Boolean).map(h => ({ [h.slice(0, h.indexOf('='))]: decode(h.slice(h.indexOf('=') + 1)) }))
    producer.produce(topic, partition === '-' ? null : Number(partition), decode(value), decode(key), Number(timestamp), sent++, pairs)
  }
  ended = true
  if (acked === sent) all()
  await finished
  await done(cb => producer.disconnect(cb))
}

function show (m) {
  const headers = (m.headers ?? []).flatMap(h => Object.entries(h).map(([name, value]) => `${name}=${encode(value)}`))
  print('record', m.partition, m.offset, m.timestamp, encode(m.key), encode(m.value), headers.join(','))
}

async function consumer (brokers, group, options) {
  const consumer = new KafkaConsumer({ 'bootstrap.servers': brokers, 'group.id': group,
    'session.timeout.ms': 10000, 'heartbeat.interval.ms': 1000, ...options }, { 'auto.offset.reset': 'earliest' })
  consumer.on('event.error', error => console.error(error))
  await done(cb => consumer.connect({}, cb))
  return consumer
}

async function read (brokers, topic, count, from) {
  const [kind, number] = from.split('=')
  const c = await consumer(brokers, 'unused', {})
  const metadata = await done(cb => c.getMetadata({ topic, timeout: 30000 }, cb))
  let places = metadata.topics.find(t => t.name === topic).partitions
    .map(p => ({ topic, partition: p.id, offset: kind === 'earliest' ? -2 : Number(number) }))
  if (kind === 'timestamp') places = await done(cb => c.offsetsForTimes(places, 30000, cb))
  c.assign(places)
  for (let left = Number(count); left > 0;) {
    const records = await done(cb => c.consume(Math.min(left, 100), cb))
    records.forEach(show)
    left -= records.length
  }
  await done(cb => c.disconnect(cb))
}

async function consume (brokers, topic, group) {
  const c = await consumer(brokers, group, {
    rebalance_cb: (error, assigned) => {
      if (error.code === confluent.CODES.ERRORS.ERR__ASSIGN_PARTITIONS) {
        c.assign(assigned)
        print('assigned', assigned.map(p => p.partition).sort().join(','))
      } else {
        c.unassign()
      }
    },
  })
  let leave = false
  createInterface({ input: process.stdin }).once('line', () => { leave = true })
  c.subscribe([topic])
  c.setDefaultConsumeTimeout(100)
  while (!leave) (await done(cb => c.consume(100, cb))).forEach(show)
  await done(cb => c.disconnect(cb))
}

async function admin (brokers, topic, groupId) {
  const admin = await admins(brokers)
  const partitions = async () => (await admin.fetchTopicMetadata({ topics: [topic] }))[0].partitions.length
  const sum = of => of.reduce((total, n) => total + Number(n), 0)
  const calls = {
    topics: async () => (await admin.listTopics()).includes(topic) ? 'yes' : 'no',
    partitions,
    ends: async () => sum((await admin.fetchTopicOffsets(topic)).map(p => p.high)),
    'delete-records': async () => {
      await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '5' }] })
      return (await admin.fetchTopicOffsets(topic)).find(p => p.partition === 0).low
    },
    groups: async () => (await admin.listGroups()).groups.some(g => g.groupId === groupId) ? 'yes' : 'no',
    group: async () => {
      const { state } = (await admin.describeGroups([groupId])).groups[0]
      return Object.entries(KafkaJS.ConsumerGroupStates).find(([, n]) => n === state)[0].toLowerCase().replace(/^./, c => c.toUpperCase())
    },
    'group-offsets': async () => sum((await admin.fetchOffsets({ groupId, topics: [topic] }))[0].partitions
      .filter(p => Number(p.offset) >= 0).map(p => p.offset)),
    'delete-group': async () => { await admin.deleteGroups([groupId]); return 'done' },
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

const [command, ...rest] = process.argv.slice(2)
await { create, produce, read, consume, admin }[command](...rest)
// Not before the pipe has taken all: exit drops the rest.
process.stdout.write('', () => process.exit(0))
