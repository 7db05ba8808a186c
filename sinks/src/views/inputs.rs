//! Reading the inputs that a route describes out of a request; all that is wrong is reported together.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::HeaderMap;
use lsie_schemas::record::ArmText;
use lsie_schemas::{EventTime, LogTime, Uuid, canonical};
use serde_json::{Map, Value};

use crate::views::reply::{Fault, Problem};
use crate::views::route::{Input, Kind, MAX_ARMS, MAX_ID, MAX_TEXT, Place, Route};

/// The inputs of one request, by name.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Inputs {
    values: BTreeMap<&'static str, Given>,
}

#[derive(Clone, Debug, PartialEq)]
enum Given {
    Null,
    Text(String),
    Uuid(Uuid),
    Flag(bool),
    Number(u64),
    Time(EventTime),
    Arms(Vec<ArmText>),
}

/// A request as far as inputs may stand in it.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) path: Result<Vec<(String, String)>, String>,
    pub(crate) query: Result<Vec<(String, String)>, String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Inputs {
    /// The text of that name.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.values.get(name) {
            Some(Given::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The text of an input that is required; empty if the route does not require it.
    pub(crate) fn word(&self, name: &str) -> &str {
        self.text(name).unwrap_or_default()
    }

    /// The identifier of that name.
    pub(crate) fn uuid(&self, name: &str) -> Option<Uuid> {
        match self.values.get(name) {
            Some(Given::Uuid(uuid)) => Some(*uuid),
            _ => None,
        }
    }

    /// The session of a path.
    pub(crate) fn session(&self) -> Uuid {
        self.uuid("session_id").unwrap_or_default()
    }

    /// Whether the flag of that name is set.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.values.get(name) == Some(&Given::Flag(true))
    }

    /// Whether an input of that name was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Most rows to return.
    pub(crate) fn limit(&self) -> usize {
        match self.values.get("limit") {
            Some(Given::Number(limit)) => *limit as usize,
            _ => usize::MAX,
        }
    }

    /// The instant of that name.
    pub(crate) fn time(&self, name: &str) -> Option<EventTime> {
        match self.values.get(name) {
            Some(Given::Time(at)) => Some(*at),
            _ => None,
        }
    }

    /// The log time that an answer is asked for.
    pub(crate) fn as_of(&self) -> Option<LogTime> {
        self.epoch("as_of")
    }

    /// The log time of that name.
    pub(crate) fn epoch(&self, name: &str) -> Option<LogTime> {
        match self.values.get(name) {
            Some(Given::Number(at)) => Some(LogTime(*at)),
            _ => None,
        }
    }

    /// The arms of a body.
    pub(crate) fn arms(&self) -> Vec<ArmText> {
        match self.values.get("arms") {
            Some(Given::Arms(arms)) => arms.clone(),
            _ => Vec::new(),
        }
    }

    /// Reads what the route describes; refused if anything is wrong, missing or not described.
    pub(crate) fn read(route: &Route, raw: &Raw) -> Result<Inputs, Fault> {
        let mut reader = Reader::default();
        let path = reader.pairs(Place::Path, &raw.path);
        let mut query = reader.pairs(Place::Query, &raw.query);
        let mut body = reader.body(route, raw);
        for input in route.all_inputs() {
            let value = match input.place {
                Place::Path => path.get(input.name).cloned().map(Value::from),
                Place::Query => query.remove(input.name).map(Value::from),
                Place::Header => reader.header(input.name, &raw.headers).map(Value::from),
                Place::Body => match &mut body {
                    Some(body) => body.remove(input.name),
                    None => continue,
                },
            };
            reader.take(input, value);
        }
        for name in query.into_keys() {
            reader.problem(Place::Query, &name, "not a parameter of this route", "unknown");
        }
        for name in body.into_iter().flatten().map(|(name, _)| name) {
            reader.problem(Place::Body, &name, "not a field of this request", "unknown");
        }
        match reader.problems.is_empty() {
            true => Ok(reader.inputs),
            false => Err(Fault::Invalid(reader.problems)),
        }
    }
}

/// What was read so far, and what was wrong.
#[derive(Debug, Default)]
struct Reader {
    inputs: Inputs,
    problems: Vec<Problem>,
}

impl Reader {
    fn problem(&mut self, place: Place, name: &str, message: impl Into<String>, kind: &'static str) {
        let location = [place.name().to_owned(), name.to_owned()];
        self.problems.push(Problem { location, message: message.into(), kind });
    }

    fn pairs(
        &mut self,
        place: Place,
        pairs: &Result<Vec<(String, String)>, String>,
    ) -> BTreeMap<String, String> {
        let mut known = BTreeMap::new();
        match pairs {
            Err(why) => self.problem(place, "", why, "malformed"),
            Ok(pairs) => {
                for (name, value) in pairs {
                    if known.insert(name.clone(), value.clone()).is_some() {
                        self.problem(place, name, "given more than once", "duplicate");
                    }
                }
            }
        }
        known
    }

    fn header(&mut self, name: &str, headers: &HeaderMap) -> Option<String> {
        // What is no text is read as one that no kind takes.
        headers.get(name).map(|value| value.to_str().unwrap_or_default().to_owned())
    }

    /// The fields of the body, if the route takes any and the body has some.
    fn body(&mut self, route: &Route, raw: &Raw) -> Option<Map<String, Value>> {
        if !route.inputs.iter().any(|input| input.place == Place::Body) {
            return None;
        }
        let kind = raw.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            self.problem(Place::Header, "content-type", "not application/json", "media_type");
            return None;
        }
        match serde_json::from_slice(&raw.body) {
            Ok(Value::Object(fields)) => return Some(fields),
            Ok(_) => self.problem(Place::Body, "", "not an object", "object"),
            Err(error) => {
                let at = format!("not JSON at line {} column {}", error.line(), error.column());
                self.problem(Place::Body, "", at, "malformed");
            }
        }
        None
    }

    fn take(&mut self, input: &Input, value: Option<Value>) {
        let Some(value) = value else {
            if input.required {
                self.problem(input.place, input.name, "missing", "missing");
            } else if let Kind::Limit { default, .. } = input.kind {
                self.inputs.values.insert(input.name, Given::Number(default as u64));
            }
            return;
        };
        match given(input, value) {
            Ok(given) => {
                self.inputs.values.insert(input.name, given);
            }
            Err((message, kind)) => self.problem(input.place, input.name, message, kind),
        }
    }
}

/// What is wrong with a value, and its kind.
type Wrong = (String, &'static str);

fn given(input: &Input, value: Value) -> Result<Given, Wrong> {
    let is_body = input.place == Place::Body;
    match (input.kind, value) {
        (Kind::Word, Value::String(text)) => Ok(Given::Text(text)),
        (Kind::Text { max }, Value::String(text)) => text_to_keep(&text, max, false).map(Given::Text),
        (Kind::Note { .. }, Value::Null) => Ok(Given::Null),
        (Kind::Note { .. }, Value::String(text)) if text.trim().is_empty() => Ok(Given::Null),
        (Kind::Note { max }, Value::String(text)) => text_to_keep(&text, max, true).map(Given::Text),
        (Kind::Uuid, Value::String(text)) => parse_uuid(&text).map(Given::Uuid),
        (Kind::Flag, Value::Bool(flag)) => Ok(Given::Flag(flag)),
        (Kind::Flag, Value::String(text)) if !is_body => flag(&text).map(Given::Flag),
        (Kind::Limit { max, .. }, Value::String(text)) if !is_body => limit(&text, max).map(Given::Number),
        (Kind::Time, Value::String(text)) => match canonical::parse(&text) {
            Ok(us) => Ok(Given::Time(EventTime(us))),
            Err(why) => Err((why.to_string(), "time")),
        },
        (Kind::Epoch, Value::String(text)) if !is_body => match text.parse() {
            Ok(at) => Ok(Given::Number(at)),
            Err(_) => Err(("not a log time in milliseconds".into(), "int")),
        },
        (Kind::Off, Value::Bool(false)) => Ok(Given::Flag(false)),
        (Kind::Off, Value::Bool(true)) => Err(("can only be false".into(), "value")),
        (Kind::Arms, Value::Array(arms)) => read_arms(arms).map(Given::Arms),
        (kind, _) => Err((format!("not {}", wanted(kind)), "type")),
    }
}

fn wanted(kind: Kind) -> &'static str {
    match kind {
        Kind::Word | Kind::Text { .. } | Kind::Uuid | Kind::Time => "a text",
        Kind::Note { .. } => "a text or null",
        Kind::Flag | Kind::Off => "true or false",
        Kind::Limit { .. } | Kind::Epoch => "a number",
        Kind::Arms => "a list of arms",
    }
}

/// A text that goes into a record: trimmed, and nothing in it that a table could not hold.
fn text_to_keep(text: &str, max: usize, lines: bool) -> Result<String, Wrong> {
    let text = text.trim();
    let is_refused = |c: char| c.is_control() && !(lines && matches!(c, '\n' | '\r' | '\t'));
    match () {
        _ if text.is_empty() => Err(("blank".into(), "blank")),
        _ if text.chars().count() > max => Err((format!("longer than {max} characters"), "length")),
        _ if text.chars().any(is_refused) => Err(("holds a control character".into(), "text")),
        _ => Ok(text.to_owned()),
    }
}

fn parse_uuid(text: &str) -> Result<Uuid, Wrong> {
    let uuid = Uuid::parse_str(text).ok().filter(|_| text.len() == 36);
    uuid.ok_or_else(|| ("not a UUID".into(), "uuid"))
}

fn flag(text: &str) -> Result<bool, Wrong> {
    match text {
        "false" | "0" => Ok(false),
        "true" | "1" => Ok(true),
        _ => Err(("neither true nor false".into(), "bool")),
    }
}

fn limit(text: &str, max: usize) -> Result<u64, Wrong> {
    match text.parse::<u64>() {
        Ok(limit) if (1..=max as u64).contains(&limit) => Ok(limit),
        Ok(_) => Err((format!("not from 1 to {max}"), "range")),
        Err(_) => Err(("not a whole number".into(), "int")),
    }
}

fn read_arms(arms: Vec<Value>) -> Result<Vec<ArmText>, Wrong> {
    if arms.is_empty() || arms.len() > MAX_ARMS {
        return Err((format!("not from 1 to {MAX_ARMS} arms"), "range"));
    }
    let (mut read, mut ids) = (Vec::with_capacity(arms.len()), BTreeSet::new());
    for (at, arm) in arms.into_iter().enumerate() {
        let wrong = |(message, kind): Wrong| (format!("arm {at}: {message}"), kind);
        let Value::Object(mut fields) = arm else { return Err(wrong(("not an object".into(), "type"))) };
        let mut text = |name: &str, max: usize| match fields.remove(name) {
            Some(Value::String(text)) => {
                text_to_keep(&text, max, false).map_err(|(m, kind)| wrong((format!("{name}: {m}"), kind)))
            }
            Some(_) => Err(wrong((format!("{name}: not a text"), "type"))),
            None => Err(wrong((format!("{name}: missing"), "missing"))),
        };
        let (arm, greeting_text) = (text("arm", MAX_ID)?, text("greeting_text", MAX_TEXT)?);
        if let Some(name) = fields.keys().next() {
            return Err(wrong((format!("{name}: not a field of an arm"), "unknown")));
        }
        if !ids.insert(arm.clone()) {
            return Err(wrong(("its id is there twice".into(), "duplicate")));
        }
        read.push(ArmText { arm, greeting_text });
    }
    Ok(read)
}
