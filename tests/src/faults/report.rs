//! The table of a fault run.

use std::collections::BTreeMap;
use std::fmt;

use super::Fault;
use super::round::Outcome;

/// What came of many rounds.
#[derive(Default)]
pub struct Report {
    lines: BTreeMap<Fault, Line>,
}

#[derive(Default)]
struct Line {
    rounds: u64,
    lost_rows: u64,
    surplus_rows: u64,
    equal: u64,
    clean: u64,
    recoveries_s: Vec<f64>,
}

impl Report {
    /// Adds a round; one that broke off has no outcome.
    pub fn add(&mut self, fault: Fault, outcome: Option<&Outcome>) {
        let line = self.lines.entry(fault).or_default();
        line.rounds += 1;
        let Some(outcome) = outcome else { return };
        line.lost_rows += outcome.verdict.lost_rows;
        line.surplus_rows += outcome.verdict.surplus_rows;
        line.equal += u64::from(outcome.verdict.equal);
        line.clean += u64::from(outcome.verdict.is_clean());
        line.recoveries_s.extend(&outcome.recoveries_s);
    }

    /// Whether every round was clean.
    pub fn is_clean(&self) -> bool {
        self.lines.values().all(|line| line.clean == line.rounds)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| fault | rounds | lost rows | duplicate rows | hashes equal | all clean | recovery p50 | p99 |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        for (fault, line) in &self.lines {
            let mut times = line.recoveries_s.clone();
            times.sort_by(f64::total_cmp);
            let at = |share: f64| {
                let index = (times.len().saturating_sub(1) as f64 * share).round() as usize;
                times.get(index).map_or("–".into(), |s| format!("{s:.1} s"))
            };
            let Line { rounds, lost_rows, surplus_rows, equal, clean, .. } = line;
            writeln!(
                f,
                "| {fault:?} | {rounds} | {lost_rows} | {surplus_rows} | {equal} | {clean} | {} | {} |",
                at(0.5),
                at(0.99)
            )?;
        }
        Ok(())
    }
}
