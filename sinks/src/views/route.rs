//! What a route is: method and path, what it takes, what it returns, and the pure function that answers it. The
//! router, the reading of requests and the OpenAPI document all follow from this one description.

use axum::http::Method;
use axum::response::Response;
use serde_json::Value;

use crate::views::act::{Asked, Decision};
use crate::views::inputs::Inputs;
use crate::views::probe::Found;
use crate::views::ranked::Order;
use crate::views::reading::Reading;
use crate::views::reply::{Fault, Reply};
use crate::views::router::App;

/// One route under `/api/v1`.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// What it is for, in a sentence.
    pub(crate) doc: &'static str,
    pub(crate) inputs: &'static [Input],
    pub(crate) answer: Answer,
    pub(crate) returns: Returns,
    /// The orders of rows that its answers are made from: the store keeps them.
    pub(crate) orders: &'static [Order],
}

impl Route {
    /// A route that reads.
    pub(crate) const fn get(
        path: &'static str,
        doc: &'static str,
        inputs: &'static [Input],
        returns: Returns,
        answer: fn(&Reading<'_>, &Inputs) -> Result<Reply, Fault>,
    ) -> Route {
        Route { method: Method::GET, path, doc, inputs, answer: Answer::Read(answer), returns, orders: &[] }
    }

    /// A route that reads, and shows rows in these orders.
    pub(crate) const fn ranked(
        path: &'static str,
        doc: &'static str,
        inputs: &'static [Input],
        returns: Returns,
        orders: &'static [Order],
        answer: fn(&Reading<'_>, &Inputs) -> Result<Reply, Fault>,
    ) -> Route {
        Route { method: Method::GET, path, doc, inputs, answer: Answer::Read(answer), returns, orders }
    }

    /// A route that acts: it appends at most one record.
    pub(crate) const fn act(
        method: Method,
        path: &'static str,
        doc: &'static str,
        inputs: &'static [Input],
        returns: Returns,
        answer: fn(&Reading<'_>, &Inputs, &Asked) -> Result<Decision, Fault>,
    ) -> Route {
        Route { method, path, doc, inputs, answer: Answer::Act(answer), returns, orders: &[] }
    }

    /// Everything it takes: its own inputs, and those of its kind.
    pub(crate) fn all_inputs(&self) -> impl Iterator<Item = &'static Input> {
        let common = match self.answer {
            Answer::Read(_) | Answer::Probed(_) => READ,
            Answer::Act(_) => ACT,
            Answer::Stream(_) => &[],
        };
        self.inputs.iter().chain(common)
    }
}

/// How a route comes to its answer: from the state of one epoch and the inputs, and from nothing else.
pub(crate) enum Answer {
    Read(fn(&Reading<'_>, &Inputs) -> Result<Reply, Fault>),
    Act(fn(&Reading<'_>, &Inputs, &Asked) -> Result<Decision, Fault>),
    /// The same, with what the probes find.
    Probed(fn(&Reading<'_>, &Inputs, Found) -> Result<Reply, Fault>),
    /// A stream of events, for as long as the client wants it.
    Stream(fn(&App, &Inputs) -> Response),
}

/// What a successful answer looks like.
pub(crate) enum Returns {
    /// A list of rows of a table with these columns; CSV on request.
    Rows(&'static str, &'static [&'static str]),
    /// A list of rows of the table that the path names; CSV on request.
    AnyRows,
    /// A list of records of this schema.
    Many(fn() -> Value),
    /// One record of this schema.
    One(fn() -> Value),
    /// One new record of this schema, with status 201.
    Created(fn() -> Value),
    /// Server-sent events.
    Events,
}

/// Something that a route takes.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) place: Place,
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
    pub(crate) doc: &'static str,
}

/// Where an input stands in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Path,
    Query,
    Header,
    Body,
}

impl Place {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Place::Path => "path",
            Place::Query => "query",
            Place::Header => "header",
            Place::Body => "body",
        }
    }
}

/// What an input may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text, as it is: to look for.
    Word,
    /// A text to keep: trimmed, of 1 to `max` characters, none of them a control character.
    Text { max: usize },
    /// The same or null, line breaks allowed.
    Note { max: usize },
    /// A UUID in its hyphenated form.
    Uuid,
    /// True or false; false when absent.
    Flag,
    /// A number of rows from 1 to `max`.
    Limit { default: usize, max: usize },
    /// An instant with its zone, RFC 3339.
    Time,
    /// The log time of an epoch, ms.
    Epoch,
    /// The value false: what it names can only be switched off.
    Off,
    /// One or more arms, each with an id of its own and a greeting.
    Arms,
}

/// Longest identifier of an experiment or an arm.
pub(crate) const MAX_ID: usize = 128;
/// Longest other text.
pub(crate) const MAX_TEXT: usize = 2_000;
/// Most arms of a new experiment.
pub(crate) const MAX_ARMS: usize = 100;

impl Input {
    pub(crate) const fn path(name: &'static str, kind: Kind, doc: &'static str) -> Input {
        Input { place: Place::Path, name, kind, required: true, doc }
    }

    pub(crate) const fn query(name: &'static str, kind: Kind, doc: &'static str) -> Input {
        Input { place: Place::Query, name, kind, required: false, doc }
    }

    pub(crate) const fn body(name: &'static str, kind: Kind, doc: &'static str) -> Input {
        Input { place: Place::Body, name, kind, required: true, doc }
    }

    /// The same input, which may be left out.
    pub(crate) const fn optional(self) -> Input {
        Input { required: false, ..self }
    }
}

/// The session that a path names.
pub(crate) const SESSION: Input = Input::path("session_id", Kind::Uuid, "The session.");
/// The experiment that a path names.
pub(crate) const EXPERIMENT: Input = Input::path("experiment_id", Kind::Word, "The experiment.");

/// At most so many rows.
pub(crate) const fn limit(default: usize, max: usize) -> Input {
    Input::query("limit", Kind::Limit { default, max }, "Most rows to return.")
}

/// What every route that reads takes.
const READ: &[Input] = &[Input::query(
    "as_of",
    Kind::Epoch,
    "Answers as of this log time instead of now, within the retained window. Milliseconds.",
)];

/// What every route that acts takes.
const ACT: &[Input] = &[Input {
    place: Place::Header,
    name: "idempotency-key",
    kind: Kind::Uuid,
    required: false,
    doc: "The action's identity, where the body has no `client_action_id`: a repeated one does nothing, and is \
          answered as the first.",
}];
