//! How a run begins: what topic `epochs` says, from where the run needs it on, and what recovery decides by that.

use anyhow::{Context, bail};
use lsie_schemas::log::TopicPartition;
use lsie_schemas::record::EpochRecord;
use lsie_schemas::{LogTime, Topic};
use lsie_sinks::Sink;

use super::{COORDINATOR, Engine, Run};
use crate::checkpoint::Restored;
use crate::checkpoint::manifest::Manifest;
use crate::epochs::{self, Positions, Table, Told};
use crate::fault;
use crate::recovery::{self, Facts, Plan, facts::Found};

/// What is known of topic `epochs`.
pub(super) struct Known {
    /// The accepted epochs, from the first that the run needs on.
    pub(super) table: Vec<EpochRecord>,
    /// Where they end.
    pub(super) at: Positions,
    /// What else it says.
    pub(super) told: Told,
}

/// What recovery decided, and the state files that it looked at.
pub(super) struct Decision {
    plan: Plan,
    found: Found,
}

/// The epochs that a run takes, and the checkpoint that it resumes from, if it does.
type Beginning = (Vec<EpochRecord>, Option<(Manifest, Restored)>);

/// Does what was decided, and sets the positions to read from. No decision: there are no checkpoints.
pub(super) fn carry_out(
    table: Vec<EpochRecord>,
    decision: Option<Decision>,
    from: &mut [(TopicPartition, i64)],
) -> anyhow::Result<Beginning> {
    let Some(Decision { plan, found }) = decision else {
        recovery::refuse_gaps(&table, from)?;
        return Ok((table, None));
    };
    fault::point("recovery.facts");
    match plan {
        Plan::Fresh => Ok((table, None)),
        Plan::ReplayFromStart { passed_over } => {
            for why in passed_over {
                let epochs = table.len();
                tracing::warn!(%why, epochs, "this checkpoint cannot be used; the log is replayed from its beginning");
            }
            Ok((table, None))
        }
        Plan::Resume { manifest, passed_over } => {
            for why in passed_over {
                tracing::warn!(%why, "this checkpoint cannot be used; an older one is");
            }
            let state = found.state(&manifest)?;
            tracing::info!(epoch = manifest.epoch.0, epochs = table.len(), "resuming from a checkpoint");
            let rewind: Positions = manifest.positions.iter().map(|p| (p.at, p.rewind)).collect();
            from.iter_mut().for_each(|(at, from)| *from = rewind.get(at).copied().unwrap_or(*from));
            Ok((recovery::epochs_from(&manifest, table), Some((*manifest, state))))
        }
        Plan::Refuse { why, mend } => bail!("{why}; {mend}"),
    }
}

impl Engine {
    /// What is known of the table, and what is decided by it: from where the newest checkpoint needs it on if that will do,
    /// else from its beginning.
    pub(super) fn decided(
        &self,
        run: &Run,
        from: &[(TopicPartition, i64)],
        sinks: &[Box<dyn Sink>],
    ) -> anyhow::Result<(Known, Option<Decision>)> {
        if let Some(newest) = self.newest(run, sinks)?
            && let Some(mut known) = self.table_behind(&newest)?
        {
            let decision = self.decide(&mut known, from, sinks)?;
            let goes_on = |decision: &Decision| matches!(&decision.plan, Plan::Resume { manifest, .. } if **manifest == newest);
            if decision.as_ref().is_some_and(goes_on) {
                return Ok((known, decision));
            }
        }
        let mut known = self.table(run, from)?;
        let decision = self.decide(&mut known, from, sinks)?;
        Ok((known, decision))
    }

    fn decide(
        &self,
        known: &mut Known,
        from: &[(TopicPartition, i64)],
        sinks: &[Box<dyn Sink>],
    ) -> anyhow::Result<Option<Decision>> {
        let Some(checkpoints) = &self.checkpoints else { return Ok(None) };
        let partitions: Vec<TopicPartition> = from.iter().map(|(at, _)| *at).collect();
        let mut facts = Facts {
            sinks: resumable_after(sinks),
            partitions: self.partition_counts()?,
            config: checkpoints.config.clone(),
            table: std::mem::take(&mut known.table),
            healed: known.told.healings.last().map(|healing| healing.at),
            bounds: self.log.bounds_of(&partitions)?,
            ..Facts::default()
        };
        let (plan, found) = recovery::facts::decide(&checkpoints.store, &*self.log, &mut facts)?;
        known.table = facts.table;
        Ok(Some(Decision { plan, found }))
    }

    /// The newest manifest, if a live run can go on from it as far as its sinks are concerned.
    fn newest(&self, run: &Run, sinks: &[Box<dyn Sink>]) -> anyhow::Result<Option<Manifest>> {
        let (Run::Live(_), Some(checkpoints), true) = (run, &self.checkpoints, self.without.is_empty())
        else {
            return Ok(None);
        };
        let held = resumable_after(sinks);
        Ok(recovery::facts::newest(&checkpoints.store)?.filter(|newest| Some(newest.epoch) <= held))
    }

    /// What is known of the table from the rewind of a manifest on, and of all else that the topic says; `None` where the
    /// topic, or the manifest, does not say enough for that.
    fn table_behind(&self, manifest: &Manifest) -> anyhow::Result<Option<Known>> {
        let (Some(mut told), Some(_)) = (manifest.told.clone(), self.log.topic(Topic::Epochs)?) else {
            return Ok(None);
        };
        // Entries are created at their log time.
        let first = recovery::seen_from(manifest).min(manifest.epoch);
        let Some(offset) = self.log.offset_at(epochs::TABLE, first)? else { return Ok(None) };
        let Some(mut read) = epochs::read_table_from(&*self.log, offset)? else { return Ok(None) };
        let Some((table, at)) = recovery::table_behind(manifest, read.entries) else { return Ok(None) };
        read.told.accept(&table);
        told.then(read.told);
        Ok(Some(Known { table, at, told }))
    }

    /// The table from its beginning on; makes the epochs by rule for a bounded run without a table.
    fn table(&self, run: &Run, from: &[(TopicPartition, i64)]) -> anyhow::Result<Known> {
        let Table { mut entries, mut told } = epochs::read_table(&*self.log)?
            .context("topic epochs does not exist; `lsie topics create` makes the set")?;
        if entries.is_empty() && matches!(run, Run::Bounded(_)) {
            entries = epochs::by_rule(&*self.log, from, self.cut)?;
            // One append: a table is there whole or not at all.
            self.log.fenced(COORDINATOR)?.append(entries.iter().map(EpochRecord::encode).collect())?;
        }
        let (mut table, at) = epochs::accept(entries);
        for epoch in &mut table {
            epoch.ranges.retain(|range| !self.without.contains(&range.at.topic));
        }
        told.accept(&table);
        let healing = self.heal.iter().map(|heal| heal.at);
        let last = table.last().map(|epoch| epoch.log_time);
        table.extend(
            healing
                .filter(|at| last < Some(*at))
                .map(|log_time| EpochRecord { log_time, ranges: Vec::new() }),
        );
        Ok(Known { table, at, told })
    }
}

/// The epoch that every sink holds, and would still hold after a crash.
fn resumable_after(sinks: &[Box<dyn Sink>]) -> Option<LogTime> {
    sinks.iter().map(|sink| sink.resumable_after()).min().flatten()
}
