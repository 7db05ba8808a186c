//! Path and query parameters: taken by name, all problems reported together.

use std::collections::BTreeMap;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query};
use lsie_schemas::Uuid;

use crate::views::reply::{Fault, Problem};

/// The raw query of a request, as an extractor gives it.
pub(crate) type RawQuery = Result<Query<Vec<(String, String)>>, QueryRejection>;
/// One raw path parameter, as an extractor gives it.
pub(crate) type RawPath = Result<Path<String>, PathRejection>;

/// The parameters of a request that were not taken yet, and what is wrong with those that were.
#[derive(Debug, Default)]
pub(crate) struct Params {
    query: BTreeMap<String, String>,
    problems: Vec<Problem>,
}

impl Params {
    /// The parameters of a query.
    pub(crate) fn new(query: RawQuery) -> Params {
        let mut params = Params::default();
        match query {
            Err(error) => params.problem(["query", ""], error.body_text(), "malformed"),
            Ok(Query(pairs)) => {
                for (name, value) in pairs {
                    if params.query.insert(name.clone(), value).is_some() {
                        params.problem(["query", &name], "given more than once".into(), "duplicate");
                    }
                }
            }
        }
        params
    }

    /// A text.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.query.remove(name)
    }

    /// An identifier.
    pub(crate) fn uuid(&mut self, name: &str) -> Option<Uuid> {
        let text = self.query.remove(name)?;
        let uuid = parse_uuid(&text);
        if uuid.is_none() {
            self.problem(["query", name], "not a UUID".into(), "uuid");
        }
        uuid
    }

    /// A truth value, false when absent.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        match self.query.remove(name).as_deref() {
            None | Some("false" | "0") => false,
            Some("true" | "1") => true,
            Some(_) => {
                self.problem(["query", name], "neither true nor false".into(), "bool");
                false
            }
        }
    }

    /// A number of rows from 1 to `max`.
    pub(crate) fn limit(&mut self, default: usize, max: usize) -> usize {
        let Some(text) = self.query.remove("limit") else { return default };
        match text.parse() {
            Ok(limit) if (1..=max).contains(&limit) => limit,
            Ok(_) => {
                self.problem(["query", "limit"], format!("not from 1 to {max}"), "range");
                default
            }
            Err(_) => {
                self.problem(["query", "limit"], "not a whole number".into(), "int");
                default
            }
        }
    }

    /// A path parameter; empty if it is no text.
    pub(crate) fn path(&mut self, name: &str, path: RawPath) -> String {
        path.map(|Path(text)| text).unwrap_or_else(|error| {
            self.problem(["path", name], error.body_text(), "malformed");
            String::new()
        })
    }

    /// A path parameter that is an identifier.
    pub(crate) fn path_uuid(&mut self, name: &str, path: RawPath) -> Uuid {
        let text = self.path(name, path);
        parse_uuid(&text).unwrap_or_else(|| {
            self.problem(["path", name], "not a UUID".into(), "uuid");
            Uuid::nil()
        })
    }

    /// Ends the reading: refused if anything was wrong, or a parameter is left that nobody asked for.
    pub(crate) fn finish(mut self) -> Result<(), Fault> {
        for name in std::mem::take(&mut self.query).into_keys() {
            self.problem(["query", &name], "not a parameter of this route".into(), "unknown");
        }
        if self.problems.is_empty() { Ok(()) } else { Err(Fault::Invalid(self.problems)) }
    }

    fn problem(&mut self, location: [&str; 2], message: String, kind: &'static str) {
        self.problems.push(Problem { location: location.map(str::to_owned), message, kind });
    }
}

/// A UUID in its hyphenated form only.
fn parse_uuid(text: &str) -> Option<Uuid> {
    Uuid::parse_str(text).ok().filter(|_| text.len() == 36)
}
