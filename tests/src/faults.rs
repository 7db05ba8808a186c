//! The fault harness: the binary against a real Kafka and a real PostgreSQL of its own, struck by faults from a
//! seed, and judged when they are over.
//!
//! A round feeds made sessions in real time, strikes, lets the engine come to rest, ends it in an orderly way,
//! and compares what it left with a fault-free bounded run over the same topics and the same epoch table.
//! docs/RELIABILITY.md has the faults, what is judged, and what was run.

pub mod campaign;
pub mod engine;
pub mod evidence;
pub mod feeder;
pub mod judge;
pub mod report;
pub mod round;
pub mod servers;
mod strike;

/// What is done to a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Nothing: the harness itself.
    None,
    /// kill -9 of the engine at random moments.
    Kill,
    /// kill -9 of the engine, and again while it recovers.
    KillRecovering,
    /// kill -9 of one of the two processes of the engine.
    KillOne,
    /// The engine is killed, and away for longer than a record may be ahead of its epoch.
    Outage,
    /// The engine dies at named places: between file write and rename, between rename and manifest, while it
    /// recovers.
    Place,
    /// The engine dies over one record, every time; at last it files it.
    Deadly,
    /// The engine is stopped in an orderly way and started with another number of workers.
    Restart,
    /// The broker hangs (SIGSTOP) for some seconds.
    BrokerPause,
    /// kill -9 of the broker; it comes back.
    BrokerKill,
    /// The database is stopped at once, and started again.
    PostgresRestart,
    /// kill -9 of the engine within a transaction of the database.
    KillInTransaction,
    /// The connections of the database are cut, again and again.
    PostgresCut,
    /// Another session holds the tables of the database locked.
    PostgresLock,
    /// The disk of the result tables is full for some seconds.
    DiskFull,
    /// The disk of the result tables is read-only for some seconds.
    DiskReadOnly,
    /// The engine's wall clock jumps by an hour, forward and back.
    ClockJump,
    /// Every so many-th record is poison.
    Poison,
    /// Media records come twice, in another order, or not at all.
    MediaDisorder,
    /// One of the sessions falls silent in its midst, without an end.
    Silence,
    /// Several of these at once.
    Storm,
}

impl Fault {
    /// All of them, each alone, and the storm.
    pub const ALL: [Fault; 21] = [
        Fault::None,
        Fault::Kill,
        Fault::KillRecovering,
        Fault::KillOne,
        Fault::Outage,
        Fault::Place,
        Fault::Deadly,
        Fault::Restart,
        Fault::BrokerPause,
        Fault::BrokerKill,
        Fault::PostgresRestart,
        Fault::KillInTransaction,
        Fault::PostgresCut,
        Fault::PostgresLock,
        Fault::DiskFull,
        Fault::DiskReadOnly,
        Fault::ClockJump,
        Fault::Poison,
        Fault::MediaDisorder,
        Fault::Silence,
        Fault::Storm,
    ];

    /// Sessions of a round. That one falls silent is of interest beside many others.
    fn sessions(self) -> u64 {
        if self == Fault::Silence { 50 } else { 4 }
    }

    /// The faults of a round: itself, or for a storm a few others of the seed's choice.
    fn parts(self, chance: &mut Chance) -> Vec<Fault> {
        if self != Fault::Storm {
            return vec![self];
        }
        let strikes =
            [Fault::Kill, Fault::BrokerKill, Fault::PostgresRestart, Fault::PostgresCut, Fault::DiskFull];
        let first = chance.below(strikes.len() as u64) as usize;
        vec![
            strikes[first],
            strikes[(first + 1 + chance.below(4) as usize) % strikes.len()],
            Fault::Poison,
            Fault::MediaDisorder,
            Fault::Silence,
        ]
    }
}

/// Numbers that follow from a seed alone (SplitMix64).
#[derive(Clone, Debug)]
pub struct Chance(pub u64);

impl Chance {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound.max(1)
    }

    /// A number of a range.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }
}
