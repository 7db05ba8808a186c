//! Faults against the running binary, a real Kafka and a real PostgreSQL: nothing lost, nothing twice.
//!
//! A short selection; `make fault-test RUNS=n` has many rounds (`examples/fault_rounds.rs`).

use lsie_tests::faults::Fault;
use lsie_tests::faults::campaign::rounds;

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
