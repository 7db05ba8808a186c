//! What a record costs in time with many live sessions in real time on the real Kafka, models off: until its segment
//! is served, until its encounter is at a subscriber by HTTP; what checkpoints add to it, and what a session that falls
//! silent does to the others. Memory and processor time of the engine besides.
//!
//! `tests/run.sh with cargo bench --locked --workspace --bench delay`; `LSIE_BENCH_SESSIONS` sets how many. The
//! generator is this program once more, as a process of its own.
#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

mod common;
#[path = "common/live.rs"]
mod live;

use std::collections::BTreeMap;

use live::{Observed, SESSION_MS, STAGGER_MS, Scene, generate, observe};
use lsie_dataflow::config::Config;

/// Sessions of the scenes with and without a silent one.
const FEW: u64 = 50;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    match &words[1..] {
        [mode, prefix, sessions, silent] if mode == "generate" => {
            let number = |text: &str| text.parse().expect("a number");
            generate(prefix, number(sessions), number(silent));
        }
        _ => {
            common::print_machine();
            let sessions = common::setting("LSIE_BENCH_SESSIONS", 200);
            let plain = Scene { sessions, silent: 0, checkpoints: false };
            show("without checkpoints", plain);
            show("checkpoints every 10 s", Scene { checkpoints: true, ..plain });
            show("none silent", Scene { sessions: FEW, ..plain });
            show("one silent", Scene { sessions: FEW, silent: 1, ..plain });
        }
    }
}

fn show(name: &str, scene: Scene) {
    let observed = observe(scene);
    println!(
        "\n== {} sessions of {} s, begun within {} s, {name}",
        scene.sessions,
        SESSION_MS / 1_000,
        STAGGER_MS / 1_000
    );
    print_delays(&observed);
    print_cost(&observed, scene.sessions);
}

fn print_delays(observed: &Observed) {
    let mut closing: [Vec<f64>; 3] = Default::default();
    for (key, appended_ms) in &observed.needed {
        let Some(row) = observed.seen.rows.get(key) else { continue };
        let parts = [row.served_ms - appended_ms, row.closed_ms - appended_ms, row.served_ms - row.closed_ms];
        for (all, part) in closing.iter_mut().zip(parts) {
            all.push(part);
        }
    }
    println!(
        "{} segments expected, {} served; {} encounters at the subscriber",
        observed.needed.len(),
        closing[0].len(),
        observed.encounters.len()
    );
    println!("\n{:<46} {:>8} {:>8} {:>8}", "milliseconds", "p50", "p99", "most");
    let [whole, to_cut, to_served] = closing;
    let rows = [
        ("append of the last needed record to served row", whole),
        ("  append to the epoch's cut", to_cut),
        ("  cut to served row", to_served),
        ("append of an answer to encounter by HTTP", observed.encounters.clone()),
        ("any epoch, cut to served", observed.seen.epochs.clone()),
    ];
    for (name, mut all) in rows {
        all.sort_by(f64::total_cmp);
        let [p50, p99, most] = [50.0, 99.0, 100.0].map(|percent| common::percentile(&all, percent));
        println!("{name:<46} {p50:>8.0} {p99:>8.0} {most:>8.0}");
    }
    let epoch_ms = Config::parse("").expect("the default configuration").epochs.epoch_ms;
    println!("bars: p99 of a segment {} ms, of an encounter {} ms\n", 2 * epoch_ms + 100, 2 * epoch_ms + 50);
    let rules = observed.seen.rows.values().fold(BTreeMap::<&str, u64>::new(), |mut rules, row| {
        *rules.entry(&row.rule).or_default() += 1;
        rules
    });
    println!("closed by {rules:?}");
}

fn print_cost(observed: &Observed, sessions: u64) {
    let (used, generator) = (&observed.used, &observed.generator);
    let epochs = observed.seen.epochs.len().max(1);
    println!("{epochs} epochs, one every {:.0} ms", used.wall * 1e3 / epochs as f64);
    let others = used.others - generator.cpu_s;
    let cores = [used.own, generator.cpu_s, used.broker, others].map(|s| s / used.wall);
    println!(
        "cores kept busy: engine {:.3}, generator {:.2}, broker {:.2}, others {:.2}",
        cores[0], cores[1], cores[2], cores[3]
    );
    common::print_threads(&observed.threads);
    println!("the generator was at most {:.0} ms behind real time", generator.lag_ms);
    let growth_kib = observed.peak_kib.saturating_sub(observed.base_kib);
    println!(
        "memory: {:.1} MiB before the sessions, {:.1} MiB at the peak: {:.3} MiB per session (bar: 4 MiB)",
        observed.base_kib as f64 / 1024.0,
        observed.peak_kib as f64 / 1024.0,
        growth_kib as f64 / 1024.0 / sessions as f64
    );
}
