//! Faults against the running binary, a real Kafka and a real PostgreSQL: nothing lost, nothing twice.
//!
//! A short selection; `make fault-test RUNS=n` has many rounds (`examples/fault_rounds.rs`).

use lsie_tests::faults::Fault;
use lsie_tests::faults::campaign::rounds;
use lsie_tests::faults::round::round;
use lsie_tests::faults::servers::Servers;

/// The seed of the first round.
const SEED: u64 = 20_260_105;

#[test]
fn a_short_selection() {
    let faults = [
        Fault::Kill,
        Fault::Outage,
        Fault::Place,
        Fault::Deadly,
        Fault::BrokerKill,
        Fault::KillInTransaction,
        Fault::PostgresRestart,
        Fault::DiskFull,
        Fault::Storm,
    ];
    rounds(faults.into_iter().zip(SEED..), 2);
}

/// The same script is fed twice, in real time: to an engine that is killed, and to one that is left alone. They see the same
/// pictures and hear the same sounds.
#[test]
fn killed_or_not_the_same_is_seen_and_heard() {
    let seed = SEED - SEED % 4;
    let [alone, killed] = std::thread::scope(|scope| {
        let run = |fault: Fault| scope.spawn(move || round(&Servers::start(), fault, seed));
        [Fault::None, Fault::Kill].map(run).map(|round| round.join().expect("a round"))
    });
    assert!(alone.verdict.is_clean() && killed.verdict.is_clean());
    assert!(alone.media.faces.len() > 300 && alone.media.sounds.len() >= 4, "{:?}", alone.media.sounds);
    assert_eq!(alone.media, killed.media);
}
