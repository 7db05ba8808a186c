//! The whole dataflow; read it beside the drawing in ARCHITECTURE.md.

mod aligned;
mod analytics;
pub(crate) mod backfill;
mod facts;
mod inferred;
mod measured;
mod resolved;
mod spoken;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crossbeam_channel::Sender;
use lsie_operators::align::{Classified, Limits};
use lsie_operators::band::{self, Band};
use lsie_operators::context::{self, Context, Visit};
use lsie_operators::judging::{self, Judging};
use lsie_operators::measure::Measure;
use lsie_operators::posterior::RewardSum;
use lsie_operators::telemetry::Telemetry;
use lsie_schemas::record::DeadLetter;
use lsie_schemas::row::DeadLetterRow;
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
use crate::pool::{Pool, infer};
use crate::select::{self, Select};
use crate::split::Split;
use crate::transcribe::{Heard, Hearing, transcribe};
use crate::view::{self, Note, Rows, SessionFact, Watch, Watched};
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
    let (records, ticks) = ingest::stream(scope, inbox, shared, resumed);
    let mut ticks = Split::of(ticks, "ticks");
    let decode = Decode { partitions, page: book.page(false), quarantined };
    let decoded = per_epoch(records, Pipeline, "decode", move |_, records, out| {
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
    let mut aligned = Split::of(aligned, "aligned");
    let inferred = infer(aligned.pick(aligned::task), pool, keep.station("infer"), by_partition);
    let mut inferred = Split::of(inferred, "inferred");
    let reactions = aligned.pick(aligned::reaction).concat(inferred.pick(inferred::measured));
    let measure = Measure::default();
    let facts = stateful(reactions, Pipeline, keep.station("measure"), measure, by_partition);
    let mut facts = Split::of(facts, "facts");
    let telemetry = Telemetry::new(limits.max_wait_ms);
    let telling = aligned.pick(aligned::telling);
    let told = stateful(telling, Pipeline, keep.station("telemetry"), telemetry, by_partition);
    let mut told = Split::of(told, "told");

    let by_page = Exchange::new(|visit: &Visit| hash(&visit.row.source_url));
    let visits = aligned.pick(aligned::visited);
    let station = keep.station("context");
    let pages = stateful(visits, by_page, station, Context::default(), |page: &String| hash(page));

    let words = aligned.pick(aligned::heard).concat(ticks.pick(|_| Some(Heard::Tick)));
    let spoken = transcribe(words, hearing, keep.station("transcribe"), by_partition);
    let mut spoken = Split::of(spoken, "spoken");

    // Arms, by experiment: selection learns from earlier epochs through one feedback edge.
    let (handle, learned) = scope.feedback(1);
    let by_experiment = Exchange::new(|input: &select::Input| hash(input.experiment()));
    let selecting = aligned.pick(aligned::anchored).concat(learned);
    let select = keep.station("select_arm");
    let decisions =
        stateful(selecting, by_experiment, select, Select::with(selections), |id: &String| hash(id));

    // Judgements, by session: what was said against the greeting of the session's arm.
    let asked_about = decisions.clone().map(judging::Input::Decided).concat(spoken.pick(spoken::said));
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
        .concat(aligned.pick(aligned::judgement))
        .concat(ticks.pick(|_| Some(band::Input::Tick)));
    let band = Band::new(asking.role, asking.expecting());
    let resolved = stateful(opinions, Pipeline, keep.station("gray_band"), band, by_partition);
    let resolved = resolved.inspect(move |said| asking.hear(said, &unanswered));

    // Facts, and the analytics: collections over them, which are kept in checkpoints as they are held.
    let decisions = collected(decisions, keep.formerly("decisions"), resumed);
    let judgements = resolved.clone().flat_map(resolved::evaluated);
    let evaluated = collected(judgements.clone(), keep.formerly("evaluated"), resumed);
    let measured = collected(facts.pick(measured::reaction), keep.formerly("measured"), resumed);
    let administered = kept(aligned.pick(aligned::admin), keep.station("administered"));
    let decided = decisions
        .clone()
        .map(|row| (row.session_id, SessionFact::Decided(row.selected_arm_id, row.expected_greeting)));
    let session_facts =
        collected(aligned.pick(aligned::session_fact), keep.formerly("session_facts"), resumed);
    let sessions = view::sessions(session_facts.concat(decided), &keep);
    let parts = facts.pick(view::of_fact).concat(told.pick(view::of_told));
    let Analytics { rewards, moved, ledgered, written: analytics } = analytics(
        Facts {
            ticks: ticks.pick(ledger::Input::tick(keep.worker)),
            sessions: sessions.clone(),
            stimuli: collected(facts.pick(measured::stimulus), keep.formerly("stimuli"), resumed),
            decisions: decisions.clone(),
            measured,
            evaluated: evaluated.clone(),
            scans: collected(told.pick(told::scanned), keep.formerly("scans"), resumed),
            texts: view::arm_texts(administered.clone()),
            outcomes: told.pick(told::outcome),
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
        view::actions(collected(aligned.pick(aligned::asked), keep.formerly("actions"), resumed), &keep);
    let classes = scope.concatenate([
        aligned.pick(aligned::class),
        inferred.pick(inferred::class),
        spoken.pick(spoken::class),
        resolved.clone().flat_map(resolved::class),
        told.pick(told::class),
        ledgered.clone().flat_map(ledgered_class),
        pages.clone().flat_map(context::Output::class),
    ]);
    let classes = view::record_classes(kept(classes, keep.station("classes")));
    let dead = scope.concatenate([
        aligned.pick(aligned::dead),
        inferred.pick(inferred::dead),
        spoken.pick(spoken::dead),
        resolved.clone().flat_map(resolved::dead),
        told.pick(told::dead),
        ledgered.clone().flat_map(ledgered_dead),
    ]);
    let dead = dead.map(DeadLetterRow::from);

    // The watch over the subsystems.
    let known = at_their_time(evaluated.inner).filter(|(_, diff)| *diff > 0);
    let streams = aligned.pick(aligned::segment_streams);
    let notes = scope.concatenate([
        aligned.pick(Note::of_aligned),
        inferred.pick(inferred::filed),
        facts.pick(Note::of_fact),
        told.pick(Note::of_told),
        spoken.pick(spoken::filed),
        resolved.clone().flat_map(resolved::dead).map(|letter| Note::filed(&letter)),
        known.map(|((_, judged), _)| Note::Judged(judged.reason.clone())),
        resolved.clone().flat_map(resolved::unjudged),
        moved.filter(|(_, diff)| *diff > 0).flat_map(|(row, _)| Note::of_encounter(&row)),
        ticks.pick(|_| Some(Note::Tick)),
    ]);
    let one = Exchange::new(|_: &Note| 0);
    let watched = stateful(notes, one, keep.station("watch"), Watch::default(), |worker: &u64| *worker);

    // Rows out: everything of an epoch to one committing writer. What views say of a restored state is known.
    let written = scope.concatenate([
        ticks.pick(|epoch| Some(Written::Tick(*epoch))),
        analytics,
        changed(watched, Watched::change),
        changes(sessions, resumed),
        changes(actions, resumed),
        changes(decisions, resumed),
        changes(classes, resumed),
        facts_out(dead),
        facts_out(streams),
        inferred.pick_at(inferred::changed),
        spoken.pick_at(spoken::changed),
        facts_out(judged.flat_map(|judged| judged.inferences)),
        facts_out(resolved.flat_map(resolved::fact)),
        facts_out(judgements.map(facts::judgement)),
        facts_out(pages.flat_map(context::Output::row)),
        told.pick_at(told::changed),
        facts.pick_at(measured::changed),
    ]);
    ticks.build();
    aligned.build();
    inferred.build();
    facts.build();
    told.build();
    spoken.build();
    commit::gather(written, epochs);
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
    changed(rows, |epoch, row| Some(change(row, epoch, 1)))
}

/// What is said of an epoch as changes of tables.
fn changed<'scope, I: Clone + 'static>(
    said: StreamVec<'scope, Time, I>,
    change: impl Fn(LogTime, &I) -> Option<Change> + 'static,
) -> StreamVec<'scope, Time, Written> {
    let mut said = Split::of(said, "rows");
    let changes = said.pick_at(move |epoch, item| change(epoch, item).map(Written::Change));
    said.build();
    changes
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
