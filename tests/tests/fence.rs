//! The fence of a coordinator over a broker that hangs for longer than an append waits: what it appends is there once, and a
//! later holder is never put an end to.

use std::time::Duration;

use lsie_connectors::{KafkaConfig, KafkaLog};
use lsie_schemas::log::{AppendRecord, Log, LogError, NewRecord};
use lsie_schemas::record::EpochRecord;
use lsie_schemas::{LogTime, Topic};
use lsie_tests::faults::servers::Servers;
use lsie_tests::harness::{read_all, signal};

fn record(number: u64) -> NewRecord {
    EpochRecord { log_time: LogTime(number), ranges: Vec::new() }.encode()
}

/// Tries again while the log is away, as the coordinator does.
fn append(holder: &dyn AppendRecord, number: u64) -> Result<(), LogError> {
    for _ in 0..60 {
        match holder.append(vec![record(number)]) {
            Err(LogError::Unavailable(_)) => std::thread::sleep(Duration::from_millis(200)),
            done => return done.map(drop),
        }
    }
    panic!("the log stays away")
}

fn appended(log: &dyn Log) -> Vec<u64> {
    let records = read_all(log, &[Topic::Epochs]);
    records.iter().map(|record| EpochRecord::decode(&record.value).expect("an epoch").log_time.0).collect()
}

#[test]
fn what_is_appended_over_a_hang_is_there_once_and_a_later_holder_stays() {
    let servers = Servers::start();
    let config =
        KafkaConfig { timeout: Duration::from_secs(3), ..KafkaConfig::new(&servers.bootstrap, "fence.") };
    let log = KafkaLog::connect(config).expect("the harness's Kafka");
    log.create_topics(&lsie_tests::harness::specs(1, lsie_schemas::log::TimestampType::LogAppend))
        .expect("topics");
    let broker: u32 = servers.broker_pid().parse().expect("a pid");

    let first = log.fenced("coordinator").expect("a fence");
    append(&*first, 1).expect("an append");
    for number in 2..5 {
        signal(broker, "STOP");
        let away = first.append(vec![record(number)]);
        assert!(matches!(away, Err(LogError::Unavailable(_))), "{away:?}");
        signal(broker, "CONT");
        append(&*first, number).expect("the fence is still this one's");
    }
    assert_eq!(appended(&log), [1, 2, 3, 4]);

    // Another one takes over while the first does not know what became of its append.
    signal(broker, "STOP");
    let away = first.append(vec![record(5)]);
    assert!(matches!(away, Err(LogError::Unavailable(_))), "{away:?}");
    signal(broker, "CONT");
    let later = (0..60).find_map(|_| log.fenced("coordinator").ok()).expect("the fence");
    append(&*later, 6).expect("the later holder appends");
    let why = append(&*first, 5).expect_err("the first is over");
    assert!(matches!(why, LogError::Fenced(_)), "{why}");
    append(&*later, 7).expect("and the later one goes on");
    assert!(matches!(append(&*first, 5), Err(LogError::Fenced(_))), "for good");
    let all = appended(&log);
    assert!(all == [1, 2, 3, 4, 6, 7] || all == [1, 2, 3, 4, 5, 6, 7], "{all:?}");
}
