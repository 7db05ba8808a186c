//! The whole dataflow; read it beside the drawing in ARCHITECTURE.md.

mod analytics;
pub(crate) mod backfill;
mod facts;
mod resolved;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crossbeam_channel::Sender;
use lsie_operators::align::{Aligned, Classified, Limits};
use lsie_operators::band::{self, Band};
use lsie_operators::context::{self, Context, Visit};
use lsie_operators::judging::{self, Judging};
use lsie_operators::measure::{Fact, Input, Measure, Measured};
use lsie_operators::posterior::RewardSum;
use lsie_operators::telemetry::{Scan, Telemetry, Told};
use lsie_operators::utterance::Output as Spoken;
use lsie_schemas::record::{DeadLetter, ExperimentRecord};
use lsie_schemas::row::{ActionRow, DeadLetterRow, SegmentStreamRow, StimulusRow};
use lsie_schemas::topic::partition_of;
use lsie_schemas::{Change, LogTime, TableRow, Topic};
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::vec::{Filter, Map};
use timely::dataflow::operators::{Concat, Concatenate, ConnectLoop, Exchange as _, Feedback, Inspect};
use timely::dataflow::{Scope, StreamVec};
use uuid::Uuid;

use crate::adapter::{Time, at_their_time, collected, kept, per_epoch, stateful};
use crate::checkpoint::Keep;
use crate::commit::{self, Message, Written};
use crate::crash_book::{CrashBook, Place};
use crate::decode::{Alignment, Decode};
use crate::healing::Selections;
use crate::ingest::{self, Inbox, Shared};
use crate::judge::{Bench, judge};
use crate::language_model::Asking;
use crate::ledger;
use crate::pool::{Inferred, Pool, infer};
use crate::select::{self, AdminOrder, Select};
use crate::transcribe::{Heard, Hearing, transcribe};
use crate::view::{self, Handle, Note, Rows, SessionFact, StimulusKey, Watch, Watched};
use analytics::{Analytics, Facts, analytics};

/// What the graph needs besides its records.
pub struct Parts {
    /// The worker's records.
    pub inbox: Arc<Inbox>,
    /// What the threads of the run share.
    pub shared: Arc<Shared>,
    /// Measures faces.
    pub pool: Pool,
    /// Transcribes speech.
    pub hearing: Hearing,
    /// Judges what was said.
    pub bench: Bench,
    /// Judges what the judge leaves open, or everything.
    pub asking: Asking,
    /// The limits of alignment.
    pub limits: Limits,
    /// How many partitions each input topic has.
    pub partitions: BTreeMap<Topic, i32>,
    /// Selections that a healing has kept.
    pub selections: Arc<Selections>,
    /// What the process would die over is noted here.
    pub book: Arc<CrashBook>,
    /// Records that are filed, for the process has died over them.
    pub quarantined: Arc<BTreeSet<Place>>,
    /// Where complete epochs go.
    pub epochs: Sender<Message>,
    /// State across restarts.
    pub keep: Keep,
}

/// Builds the dataflow of one worker; the same on every worker.
pub fn build(scope: Scope<'_, Time>, parts: Parts) {
    let Parts { inbox, shared, pool, hearing, bench, asking, limits, partitions, .. } = parts;
    let Parts { selections, book, quarantined, epochs, keep, .. } = parts;
    let resumed = keep.resumed;
    let sessions = partitions.get(&Topic::Control).copied().unwrap_or(1);
    let by_partition = move |session: &Uuid| partition_of(session.to_string().as_bytes(), sessions) as u64;

    // Topics, by session: a session's records are all on the worker of its partition.
    let (unanswered, watching) = (shared.clone(), shared.clone());
    let ingested = ingest::stream(scope, inbox, shared, resumed);
    let ticks =
        per_epoch(ingested.clone(), Pipeline, "tick", |epoch, _, out| out.push(Written::Tick(epoch.0)));
    let decode = Decode { partitions, page: book.page(false), quarantined };
    let decoded = per_epoch(ingested, Pipeline, "decode", move |_, records, out| {
        out.extend(records.into_iter().map(|item| decode.item(item)));
    });
    let align = Alignment::new(limits);
    let aligned = stateful(decoded, Pipeline, keep.station("align"), align, by_partition);
    let aligned = aligned.inspect_core(move |event| {
        if let Ok((stamp, words)) = event
            && let Some(epoch) = stamp.least()
        {
            watching.sources.hear(LogTime(*epoch), words);
        }
    });
    let admin = aligned.clone().flat_map(admin);
    let inferred = infer(aligned.clone(), pool, keep.station("infer"), by_partition);
    let reactions = aligned.clone().map(Input::Aligned).concat(inferred.clone().flat_map(measured_input));
    let measure = Measure::default();
    let facts = stateful(reactions, Pipeline, keep.station("measure"), measure, by_partition);
    let telemetry = Telemetry::new(limits.max_wait_ms);
    let told = stateful(aligned.clone(), Pipeline, keep.station("telemetry"), telemetry, by_partition);

    let by_page = Exchange::new(|visit: &Visit| hash(&visit.row.source_url));
    let visits = aligned.clone().flat_map(visited);
    let station = keep.station("context");
    let pages = stateful(visits, by_page, station, Context::default(), |page: &String| hash(page));

    let words = aligned.clone().flat_map(heard).concat(ticks.clone().map(|_| Heard::Tick));
    let spoken = transcribe(words, hearing, keep.station("transcribe"), by_partition);

    // Arms, by experiment: selection learns from earlier epochs through one feedback edge.
    let (handle, learned) = scope.feedback(1);
    let by_experiment = Exchange::new(|input: &select::Input| hash(input.experiment()));
    let selecting = aligned.clone().flat_map(anchored).concat(learned);
    let select = keep.station("select_arm");
    let decisions =
        stateful(selecting, by_experiment, select, Select::with(selections), |id: &String| hash(id));

    // Judgements, by session: what was said against the greeting of the session's arm.
    let asked_about = decisions.clone().map(judging::Input::Decided).concat(spoken.clone().flat_map(said));
    let by_session = Exchange::new(|input: &judging::Input| input.session().as_u64_pair().0);
    let judging = keep.station("judging");
    let questions =
        stateful(asked_about, by_session, judging, Judging::default(), |id: &Uuid| id.as_u64_pair().0);
    let judged = judge(questions, bench);

    // What the judge leaves open waits for the language model's answer, a record.
    let opinions = judged.clone().map(|judged| (judged.question, judged.opinion));
    let opinions = opinions
        .exchange(move |(question, _)| by_partition(&question.session))
        .map(|(question, opinion)| band::Input::Opinion(question, opinion))
        .concat(aligned.clone().flat_map(resolved::judgement))
        .concat(ticks.clone().map(|_| band::Input::Tick));
    let band = Band::new(asking.role, asking.expecting());
    let resolved = stateful(opinions, Pipeline, keep.station("gray_band"), band, by_partition);
    let resolved = resolved.inspect(move |said| asking.hear(said, &unanswered));

    // Facts, and the analytics: collections over them, which are kept in checkpoints as they are held.
    let decisions = collected(decisions, keep.formerly("decisions"), resumed);
    let judgements = resolved.clone().flat_map(resolved::evaluated);
    let evaluated = collected(judgements.clone(), keep.formerly("evaluated"), resumed);
    let measured = collected(facts.clone().flat_map(measured), keep.formerly("measured"), resumed);
    let administered = kept(admin, keep.station("administered"));
    let decided = decisions
        .clone()
        .map(|row| (row.session_id, SessionFact::Decided(row.selected_arm_id, row.expected_greeting)));
    let session_facts =
        collected(aligned.clone().flat_map(session_fact), keep.formerly("session_facts"), resumed);
    let sessions = view::sessions(session_facts.concat(decided), &keep);
    let parts = facts.clone().flat_map(view::of_fact).concat(told.clone().flat_map(view::of_told));
    let Analytics { rewards, moved, ledgered, written: analytics } = analytics(
        Facts {
            ticks: ticks.clone(),
            sessions: sessions.clone(),
            stimuli: collected(facts.clone().flat_map(stimulus), keep.formerly("stimuli"), resumed),
            decisions: decisions.clone(),
            measured,
            evaluated: evaluated.clone(),
            scans: collected(told.clone().flat_map(scanned), keep.formerly("scans"), resumed),
            texts: view::arm_texts(administered.clone()),
            outcomes: told.clone().flat_map(outcome),
            parts,
        },
        &keep,
    );
    let rewarded = at_their_time(rewards.inner).map(|((experiment, arm), (sum, n))| select::Input::Reward {
        experiment,
        arm,
        sum: RewardSum { sum, n },
    });
    let ordered = at_their_time(administered.inner)
        .map(|((order, _, record), _)| select::Input::Admin { order, record });
    rewarded.concat(ordered).connect_loop(handle);

    let actions =
        view::actions(collected(aligned.clone().flat_map(asked), keep.formerly("actions"), resumed), &keep);
    let classes = scope.concatenate([
        aligned.clone().flat_map(aligned_class),
        inferred.clone().flat_map(inferred_class),
        spoken.clone().flat_map(spoken_class),
        resolved.clone().flat_map(resolved::class),
        told.clone().flat_map(told_class),
        ledgered.clone().flat_map(ledgered_class),
        pages.clone().flat_map(context::Output::class),
    ]);
    let classes = view::record_classes(kept(classes, keep.station("classes")));
    let dead = scope.concatenate([
        aligned.clone().flat_map(aligned_dead),
        inferred.clone().flat_map(inferred_dead),
        spoken.clone().flat_map(spoken_dead),
        resolved.clone().flat_map(resolved::dead),
        told.clone().flat_map(told_dead),
        ledgered.clone().flat_map(ledgered_dead),
    ]);
    let dead = dead.map(DeadLetterRow::from);

    // The watch over the subsystems.
    let known = at_their_time(evaluated.inner).filter(|(_, diff)| *diff > 0);
    let streams = aligned.clone().flat_map(segment_streams);
    let notes = scope.concatenate([
        aligned.flat_map(Note::of_aligned),
        inferred.clone().flat_map(inferred_dead).map(|letter| Note::filed(&letter)),
        facts.clone().flat_map(Note::of_fact),
        told.clone().flat_map(Note::of_told),
        spoken.clone().flat_map(spoken_dead).map(|letter| Note::filed(&letter)),
        resolved.clone().flat_map(resolved::dead).map(|letter| Note::filed(&letter)),
        known.map(|((_, judged), _)| Note::Judged(judged.reason.clone())),
        resolved.clone().flat_map(resolved::unjudged),
        moved.filter(|(_, diff)| *diff > 0).flat_map(|(row, _)| Note::of_encounter(&row)),
        ticks.clone().map(|_| Note::Tick),
    ]);
    let one = Exchange::new(|_: &Note| 0);
    let watched = stateful(notes, one, keep.station("watch"), Watch::default(), |worker: &u64| *worker);

    // Rows out: everything of an epoch to one committing writer. What views say of a restored state is known.
    let written = scope.concatenate([
        ticks,
        analytics,
        watch_changes(watched),
        changes(sessions, resumed),
        changes(actions, resumed),
        changes(decisions, resumed),
        changes(classes, resumed),
        facts_out(dead),
        facts_out(streams),
        facts_out(inferred.flat_map(face_row)),
        spoken_changes(spoken),
        facts_out(judged.flat_map(|judged| judged.inferences)),
        facts_out(resolved.flat_map(resolved::fact)),
        facts_out(judgements.map(facts::judgement)),
        facts_out(pages.flat_map(context::Output::row)),
        told_changes(told),
        fact_changes(facts),
    ]);
    commit::gather(written, epochs);
}

fn asked(word: Aligned) -> Option<ActionRow> {
    match word {
        Aligned::Asked(row) => Some(*row),
        _ => None,
    }
}

fn visited(word: Aligned) -> Option<Visit> {
    match word {
        Aligned::Visited(visit) => Some(*visit),
        _ => None,
    }
}

fn segment_streams(word: Aligned) -> Vec<SegmentStreamRow> {
    match word {
        Aligned::Closed(segment) => segment.streams,
        _ => Vec::new(),
    }
}

fn admin(word: Aligned) -> Option<(AdminOrder, LogTime, ExperimentRecord)> {
    match word {
        Aligned::Experiment { order, at, record } => Some((order, at, record)),
        _ => None,
    }
}

fn measured_input(inferred: Inferred) -> Option<Input> {
    match inferred {
        Inferred::Face(row) => Some(Input::Face(row)),
        Inferred::Voice(voice) => Some(Input::Voice(*voice)),
        Inferred::Classified(_) | Inferred::Dead(_) => None,
    }
}

fn face_row(inferred: Inferred) -> Option<lsie_schemas::row::FaceRow> {
    match inferred {
        Inferred::Face(row) => Some(row),
        _ => None,
    }
}

fn inferred_class(inferred: Inferred) -> Option<Classified> {
    match inferred {
        Inferred::Classified(class) => Some(class),
        _ => None,
    }
}

fn inferred_dead(inferred: Inferred) -> Option<DeadLetter> {
    match inferred {
        Inferred::Dead(letter) => Some(letter),
        _ => None,
    }
}

fn aligned_class(word: Aligned) -> Option<Classified> {
    match word {
        Aligned::Classified(class) => Some(class),
        _ => None,
    }
}

fn aligned_dead(word: Aligned) -> Option<DeadLetter> {
    match word {
        Aligned::Dead(letter) => Some(letter),
        _ => None,
    }
}

fn anchored(word: Aligned) -> Option<select::Input> {
    match word {
        Aligned::Anchored { session, experiment, anchor } => {
            Some(select::Input::Anchored { session, experiment, anchor })
        }
        _ => None,
    }
}

fn session_fact(word: Aligned) -> Option<(uuid::Uuid, SessionFact)> {
    match word {
        Aligned::Started { start, at } => {
            let (stream_url, experiment) = (start.source_url, start.experiment_id);
            Some((start.session_id, SessionFact::Started { stream_url, at, experiment }))
        }
        Aligned::Anchored { session, anchor, .. } => Some((session, SessionFact::Anchored(anchor))),
        Aligned::Ended { session, at } => Some((session, SessionFact::Ended(at))),
        _ => None,
    }
}

fn outcome(told: Told) -> Option<ledger::Input> {
    match told {
        Told::Outcome(outcome, letter) => Some(ledger::Input::Outcome(outcome, letter)),
        _ => None,
    }
}

fn scanned(told: Told) -> Option<((uuid::Uuid, String), Option<Scan>)> {
    match told {
        Told::Scanned(session, segment, scan) => Some(((session, segment), scan)),
        _ => None,
    }
}

fn told_class(told: Told) -> Option<Classified> {
    match told {
        Told::Classified(classified) => Some(classified),
        _ => None,
    }
}

fn told_dead(told: Told) -> Option<DeadLetter> {
    match told {
        Told::Dead(letter) => Some(letter),
        _ => None,
    }
}

fn ledgered_class(output: ledger::Output) -> Option<Classified> {
    match output {
        ledger::Output::Classified(classified) => Some(classified),
        _ => None,
    }
}

fn ledgered_dead(output: ledger::Output) -> Option<DeadLetter> {
    match output {
        ledger::Output::Dead(letter) => Some(letter),
        _ => None,
    }
}

fn measured(fact: Fact) -> Option<(StimulusKey, Handle<Measured>)> {
    match fact {
        Fact::Measured(session, action, measured) => Some(((session, action), measured.into())),
        _ => None,
    }
}

fn stimulus(fact: Fact) -> Option<StimulusRow> {
    match fact {
        Fact::Stimulus(row) => Some(row),
        _ => None,
    }
}

fn heard(word: Aligned) -> Option<Heard> {
    match word {
        Aligned::Anchored { .. }
        | Aligned::Stimulus { .. }
        | Aligned::Speech(_)
        | Aligned::Sound(_)
        | Aligned::Ended { .. } => Some(Heard::Word(word)),
        Aligned::Answer(ref arrived) if !band::is_judgement(arrived) => Some(Heard::Word(word)),
        _ => None,
    }
}

fn said(spoken: Spoken) -> Option<judging::Input> {
    match spoken {
        Spoken::Said(session, action, said) => Some(judging::Input::Said(session, action, said)),
        _ => None,
    }
}

fn spoken_class(spoken: Spoken) -> Option<Classified> {
    match spoken {
        Spoken::Classified(classified) => Some(classified),
        _ => None,
    }
}

fn spoken_dead(spoken: Spoken) -> Option<DeadLetter> {
    match spoken {
        Spoken::Dead(letter) => Some(letter),
        _ => None,
    }
}

/// A collection of rows as changes of its table, those after the checkpoint that the run resumed from.
pub fn changes<'scope, R: TableRow + Clone + 'static>(
    rows: Rows<'scope, R>,
    resumed: Time,
) -> StreamVec<'scope, Time, Written> {
    rows.inner.flat_map(move |(row, epoch, diff)| {
        (epoch > resumed).then(|| Written::Change(change(&row, LogTime(epoch), diff as i64)))
    })
}

/// Facts that are rows and go out as they are.
fn facts_out<'scope, R: TableRow + Clone + 'static>(
    rows: StreamVec<'scope, Time, R>,
) -> StreamVec<'scope, Time, Written> {
    per_epoch(rows, Pipeline, "rows", |epoch, rows, out| {
        out.extend(rows.iter().map(|row| Written::Change(change(row, epoch, 1))));
    })
}

fn told_changes<'scope>(told: StreamVec<'scope, Time, Told>) -> StreamVec<'scope, Time, Written> {
    per_epoch(told, Pipeline, "told", |epoch, told, out| {
        out.extend(told.iter().filter_map(|told| {
            let change = match told {
                Told::Physiology(row) => change(row, epoch, 1),
                Told::Comodulation(row) => change(row, epoch, 1),
                Told::Event(row, diff) => change(row, epoch, *diff),
                Told::Scanned(session, segment, scan) => {
                    change(&facts::lag_scan(*session, segment, scan.as_ref()), epoch, 1)
                }
                Told::Outcome(..) | Told::Classified(_) | Told::Dead(_) => return None,
            };
            Some(Written::Change(change))
        }));
    })
}

fn spoken_changes<'scope>(spoken: StreamVec<'scope, Time, Spoken>) -> StreamVec<'scope, Time, Written> {
    per_epoch(spoken, Pipeline, "spoken", |epoch, spoken, out| {
        out.extend(spoken.iter().filter_map(|spoken| {
            let change = match spoken {
                Spoken::Transcript(row) => change(row, epoch, 1),
                Spoken::Inference(row) => change(row, epoch, 1),
                _ => return None,
            };
            Some(Written::Change(change))
        }));
    })
}

fn watch_changes<'scope>(watched: StreamVec<'scope, Time, Watched>) -> StreamVec<'scope, Time, Written> {
    per_epoch(watched, Pipeline, "watched", |epoch, watched, out| {
        out.extend(watched.iter().map(|watched| {
            Written::Change(match watched {
                Watched::Health(row, diff) => change(row, epoch, *diff),
                Watched::Alert(row) => change(row, epoch, 1),
            })
        }));
    })
}

fn fact_changes<'scope>(facts: StreamVec<'scope, Time, Fact>) -> StreamVec<'scope, Time, Written> {
    per_epoch(facts, Pipeline, "facts", |epoch, facts, out| {
        out.extend(facts.iter().filter_map(|fact| {
            let change = match fact {
                Fact::Au12(row) => change(row, epoch, 1),
                Fact::Segment(row) => change(row, epoch, 1),
                Fact::Metrics(row) => change(row, epoch, 1),
                Fact::Pitch(row) => change(row, epoch, 1),
                Fact::Stimulus(row) => change(row, epoch, 1),
                Fact::Measured(session, action, measured) => {
                    change(&facts::reaction((*session, *action), measured), epoch, 1)
                }
                Fact::Calibrated(..) => return None,
            };
            Some(Written::Change(change))
        }));
    })
}

/// A change of the table of this row type.
pub fn change<R: TableRow>(row: &R, epoch: LogTime, diff: i64) -> Change {
    Change { table: R::TABLE.name.into(), row: row.cells(), epoch, diff }
}

/// A hash for exchanges, the same in every process and build.
pub fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
