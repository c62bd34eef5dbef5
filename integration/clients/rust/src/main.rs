//! The crate rdkafka, librdkafka for Rust. See ../../README.md.
use base64::{engine::general_purpose::STANDARD, Engine};
use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Headers, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientContext, Message, Offset, TopicPartitionList};
use std::io::BufRead;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const TIMEOUT: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["create", brokers, topic, partitions] => create(brokers, topic, partitions.parse()?),
        ["produce", brokers, topic, codec] => produce(brokers, topic, codec),
        ["read", brokers, topic, count, from] => read(brokers, topic, count.parse()?, from),
        ["consume", brokers, topic, group] => consume(brokers, topic, group),
        ["admin", brokers, topic, group] => admin(brokers, topic, group),
        _ => Err("arguments".into()),
    }
}

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

fn create(brokers: &str, topic: &str, partitions: i32) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = config(brokers).create()?;
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    only(block_on(admin.create_topics(&[new], &AdminOptions::new()))?)
}

/// The one answer to a request about one thing.
fn only<T, E: std::fmt::Debug>(mut answers: Vec<std::result::Result<T, E>>) -> Result<()> {
    match answers.remove(0) {
        Ok(_) => Ok(()),
        Err(e) => Err(format!("{e:?}").into()),
    }
}

struct Acks;

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult, index: Box<usize>) {
        match result {
            Ok(m) => println!("acked\t{}\t{}\t{}", index, m.partition(), m.offset()),
            Err((e, _)) => {
                eprintln!("{e}");
                std::process::exit(1)
            }
        }
    }
}

fn produce(brokers: &str, topic: &str, codec: &str) -> Result<()> {
    let mut config = config(brokers);
    config.set("enable.idempotence", "true").set("compression.type", codec).set("linger.ms", "20");
    let producer: BaseProducer<Acks> = BaseProducer::from_config_and_context(&config, Acks)?;
    for (i, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line?;
        let f: Vec<&str> = line.split('\t').collect();
        let (key, value) = (decode(f[3])?, decode(f[4])?);
        let mut headers = OwnedHeaders::new();
        for pair in f[5].split(',').filter(|h| !h.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or("header")?;
            headers = headers.insert(Header { key: name, value: decode(value)?.as_ref() });
        }
        let mut record = BaseRecord::with_opaque_to(topic, Box::new(i)).timestamp(f[2].parse()?).headers(headers);
        if f[0] != "-" {
            record = record.partition(f[0].parse()?);
        }
        if let Some(key) = &key {
            record = record.key(key);
        }
        if let Some(value) = &value {
            record = record.payload(value);
        }
        producer.send(record).map_err(|(e, _)| e)?;
        producer.poll(Duration::ZERO);
    }
    Ok(producer.flush(TIMEOUT)?)
}

fn show(m: &BorrowedMessage) {
    let headers: Vec<String> = m.headers().map_or(vec![], |all| {
        all.iter().map(|h| format!("{}={}", h.key, encode(h.value))).collect()
    });
    let timestamp = m.timestamp().to_millis().unwrap_or(-1);
    println!("record\t{}\t{}\t{}\t{}\t{}\t{}", m.partition(), m.offset(), timestamp, encode(m.key()), encode(m.payload()), headers.join(","));
}

/// Tells what it is assigned.
struct Member;

impl ClientContext for Member {}

impl ConsumerContext for Member {
    fn post_rebalance(&self, _: &BaseConsumer<Member>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance {
            let mut partitions: Vec<i32> = list.elements().iter().map(|e| e.partition()).collect();
            partitions.sort();
            println!("assigned\t{}", partitions.iter().map(i32::to_string).collect::<Vec<_>>().join(","));
        }
    }
}

fn consumer(brokers: &str, group: &str) -> Result<BaseConsumer<Member>> {
    let mut config = config(brokers);
    config.set("group.id", group).set("auto.offset.reset", "earliest");
    config.set("session.timeout.ms", "10000").set("heartbeat.interval.ms", "1000");
    Ok(BaseConsumer::from_config_and_context(&config, Member)?)
}

fn read(brokers: &str, topic: &str, count: usize, from: &str) -> Result<()> {
    let consumer = consumer(brokers, "unused")?;
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
    let (kind, number) = from.split_once('=').unwrap_or((from, "0"));
    let mut places = TopicPartitionList::new();
    for p in metadata.topics()[0].partitions() {
        let at = if kind == "earliest" { Offset::Beginning } else { Offset::Offset(number.parse()?) };
        places.add_partition_offset(topic, p.id(), at)?;
    }
    if kind == "timestamp" {
        places = consumer.offsets_for_times(places, TIMEOUT)?;
    }
    consumer.assign(&places)?;
    for _ in 0..count {
        loop {
            if let Some(m) = consumer.poll(Duration::from_millis(100)) {
                show(&m?);
                break;
            }
        }
    }
    Ok(())
}

fn consume(brokers: &str, topic: &str, group: &str) -> Result<()> {
    let leave = Arc::new(AtomicBool::new(false));
    let told = leave.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().lock().read_line(&mut String::new());
        told.store(true, Ordering::Relaxed);
    });
    let consumer = consumer(brokers, group)?;
    consumer.subscribe(&[topic])?;
    while !leave.load(Ordering::Relaxed) {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(m)) => show(&m),
            Some(Err(e)) => eprintln!("{e}"), // what is fatal ends the client itself
            None => {}
        }
    }
    Ok(()) // dropping it closes it
}

fn tell(call: &str, answer: Result<String>) {
    match answer {
        Ok(answer) => println!("admin\t{call}\t{answer}"),
        Err(e) => println!("failed\t{call}\t{e}"),
    }
}

fn admin(brokers: &str, topic: &str, group: &str) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = config(brokers).create()?;
    let options = AdminOptions::new();
    let consumer = consumer(brokers, group)?;
    let metadata = |topic| consumer.fetch_metadata(topic, TIMEOUT);
    let partitions = || -> Result<usize> { Ok(metadata(Some(topic))?.topics()[0].partitions().len()) };
    let yes = |there| if there { "yes" } else { "no" }.to_string();
    tell("brokers", (|| Ok(metadata(None)?.brokers().len().to_string()))());
    tell("topics", (|| Ok(yes(metadata(None)?.topics().iter().any(|t| t.name() == topic))))());
    tell("partitions", partitions().map(|n| n.to_string()));
    tell("config", (|| {
        let resource = ResourceSpecifier::Topic(topic);
        only(block_on(admin.alter_configs([&AlterConfig::new(resource).set("retention.ms", "3600000")], &options))?)?;
        let mut answers = block_on(admin.describe_configs([&resource], &options))?;
        let found = answers.remove(0).map_err(|e| e.to_string())?;
        Ok(found.get("retention.ms").and_then(|e| e.value.clone()).unwrap_or_default())
    })());
    tell("ends", (|| {
        let mut sum = 0;
        for p in 0..partitions()? {
            sum += consumer.fetch_watermarks(topic, p as i32, TIMEOUT)?.1;
        }
        Ok(sum.to_string())
    })());
    tell("delete-records", (|| {
        let mut to = TopicPartitionList::new();
        to.add_partition_offset(topic, 0, Offset::Offset(5))?;
        let answer = block_on(admin.delete_records(&to, &options))?;
        let low = answer.elements()[0].offset();
        Ok(low.to_raw().unwrap_or(-1).to_string())
    })());
    let groups = || consumer.fetch_group_list(Some(group), TIMEOUT);
    tell("groups", (|| Ok(yes(!groups()?.groups().is_empty())))());
    tell("group", (|| Ok(groups()?.groups()[0].state().to_string()))());
    tell("group-offsets", (|| {
        let mut all = TopicPartitionList::new();
        all.add_partition_range(topic, 0, 3);
        let found = consumer.committed_offsets(all, TIMEOUT)?;
        Ok(found.elements().iter().filter_map(|e| e.offset().to_raw()).sum::<i64>().to_string())
    })());
    tell("delete-group", (|| {
        only(block_on(admin.delete_groups(&[group], &options))?)?;
        Ok("done".into())
    })());
    tell("add-partitions", (|| {
        only(block_on(admin.create_partitions([&NewPartitions::new(topic, 6)], &options))?)?;
        Ok(partitions()?.to_string())
    })());
    tell("delete-topic", (|| {
        only(block_on(admin.delete_topics(&[topic], &options))?)?;
        Ok("done".into())
    })());
    Ok(())
}

fn encode(bytes: Option<&[u8]>) -> String {
    bytes.map_or("-".into(), |b| STANDARD.encode(b))
}

fn decode(field: &str) -> Result<Option<Vec<u8>>> {
    Ok(if field == "-" { None } else { Some(STANDARD.decode(field)?) })
}
