//! Interface payloads (contracts §2 to §10): one description per model, and one validator for all of them.
//!
//! Nothing is coerced: a text is no number, 0 is not false, a key has one name. What is accepted comes back in
//! its normal form; what is not, with the place and the reason.

mod kind;
mod models;
mod uri;

use serde_json::{Map, Value};

pub use kind::{Bounds, Kind};
pub use models::MODELS;

use crate::codec::Rejection;

/// A payload model: an object with these fields and no others.
#[derive(Debug)]
pub struct Model {
    /// The name in the contracts.
    pub name: &'static str,
    /// Its fields, in the order of the contracts.
    pub fields: &'static [Field],
    /// What holds between fields. It sees the normal form and names the field at fault, or none for the object.
    pub rule: Option<Rule>,
}

/// What holds between the fields of an object in normal form.
pub type Rule = fn(&Map<String, Value>) -> Result<(), (Option<&'static str>, Reason)>;

/// A field of a model.
#[derive(Debug)]
pub struct Field {
    /// Its key.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// Whether it may be absent or null.
    pub presence: Presence,
}

/// Whether a key may be absent or null, and what stands for that in the normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// There, and not null.
    Required,
    /// There; may be null.
    RequiredOrNull,
    /// May be absent, which is null.
    OrNull,
    /// May be absent, and then stays absent; never null.
    OrAbsent,
    /// May be absent; null is taken for that, and left out.
    OrOmitted,
    /// May be absent, which is the empty list; never null.
    OrEmpty,
}

/// Where and why a payload was refused. It quotes no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path:?}: {reason}")]
pub struct Violation {
    /// JSON Pointer (RFC 6901); empty for the whole document.
    pub path: String,
    /// What is wrong there.
    pub reason: Reason,
}

/// Why a value was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Not a JSON document.
    #[error("not JSON")]
    Json,
    /// A required key is absent.
    #[error("missing")]
    Missing,
    /// A key that the model does not have.
    #[error("unknown key")]
    Unknown,
    /// A value of another kind; named is the expected one.
    #[error("not {0}")]
    NotA(&'static str),
    /// A number outside its bounds.
    #[error("out of range")]
    Range,
    /// Too few or too many items.
    #[error("wrong number of items")]
    Size,
    /// The same item twice.
    #[error("repeated item")]
    Repeated,
    /// Fields that do not go together.
    #[error("{0}")]
    Rule(&'static str),
}

impl Reason {
    fn code(&self) -> &'static str {
        match self {
            Reason::Json => "malformed_json",
            Reason::Missing => "missing_field",
            Reason::Unknown => "unknown_field",
            _ => "bad_field",
        }
    }
}

impl From<Violation> for Rejection {
    fn from(violation: Violation) -> Rejection {
        Rejection::new(violation.reason.code(), violation.to_string())
    }
}

impl Model {
    /// The model of a name.
    pub fn named(name: &str) -> Option<&'static Model> {
        MODELS.iter().copied().find(|model| model.name == name)
    }

    /// Reads a payload into its normal form: instants as canonical text, whole numbers without a point, all other
    /// numbers as doubles, absent keys as [`Presence`] says.
    pub fn read(&self, text: &[u8]) -> Result<Value, Violation> {
        let document = serde_json::from_slice(text)
            .map_err(|_| Violation { path: String::new(), reason: Reason::Json })?;
        self.check(document)
    }

    /// As [`Model::read`], for a document that was read already.
    pub fn check(&self, document: Value) -> Result<Value, Violation> {
        self.object(document).map_err(|Fault { mut keys, reason }| {
            keys.reverse();
            let path = keys.iter().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1")));
            Violation { path: path.collect(), reason }
        })
    }

    fn object(&self, value: Value) -> Result<Value, Fault> {
        let Value::Object(mut given) = value else { return Err(Reason::NotA("an object").into()) };
        let mut normal = Map::new();
        for field in self.fields {
            let value = field.check(given.remove(field.name)).map_err(|fault| fault.under(field.name))?;
            normal.extend(value.map(|value| (field.name.to_owned(), value)));
        }
        if let Some(name) = given.keys().next() {
            return Err(Fault::from(Reason::Unknown).under(name));
        }
        match self.rule.map_or(Ok(()), |rule| rule(&normal)) {
            Ok(()) => Ok(Value::Object(normal)),
            Err((None, reason)) => Err(reason.into()),
            Err((Some(name), reason)) => Err(Fault::from(reason).under(name)),
        }
    }
}

impl Field {
    /// The normal form of a value; `None` when the key is left out.
    fn check(&self, value: Option<Value>) -> Result<Option<Value>, Fault> {
        use Presence::{OrAbsent, OrEmpty, OrNull, OrOmitted, Required, RequiredOrNull};
        match (value, self.presence) {
            (None, Required | RequiredOrNull) => Err(Reason::Missing.into()),
            (None, OrAbsent | OrOmitted) | (Some(Value::Null), OrOmitted) => Ok(None),
            (None, OrEmpty) => Ok(Some(Value::Array(Vec::new()))),
            (None, OrNull) | (Some(Value::Null), OrNull | RequiredOrNull) => Ok(Some(Value::Null)),
            (Some(value), _) => self.kind.check(value).map(Some),
        }
    }
}

/// A reason, and the keys that lead to it from the inside out.
struct Fault {
    keys: Vec<String>,
    reason: Reason,
}

impl Fault {
    fn under(mut self, key: impl ToString) -> Fault {
        self.keys.push(key.to_string());
        self
    }
}

impl From<Reason> for Fault {
    fn from(reason: Reason) -> Fault {
        Fault { keys: Vec::new(), reason }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn link() -> Value {
        let id = "54d27d5f-0c8e-498e-bc32-1885d162e0b8";
        json!({
            "link_id": id, "event_id": id, "outcome_id": id, "lag_s": 7, "horizon_s": 604_800.0,
            "link_rule_version": "event_outcome_lag_horizon_v1", "eligibility_flags": ["same_session"],
            "finality": "offline_final", "schema_version": "v3.4", "created_at": "2026-08-12T18:21:18+02:00",
        })
    }

    #[track_caller]
    fn refused(name: &str, payload: Value) -> (String, Reason) {
        let Violation { path, reason } =
            Model::named(name).expect("a model").check(payload).expect_err("a refusal");
        (path, reason)
    }

    fn with(key: &str, value: Value) -> Value {
        let mut link = link();
        link[key] = value;
        link
    }

    #[test]
    fn names_are_unique_and_found() {
        for model in MODELS {
            assert!(std::ptr::eq(Model::named(model.name).expect("found"), *model));
        }
        assert!(Model::named("Nothing").is_none());
    }

    #[test]
    fn the_normal_form_is_its_own() {
        let model = Model::named("EventOutcomeLink").expect("a model");
        let normal = model.check(link()).expect("accepted");
        assert_eq!((&normal["lag_s"], &normal["created_at"]), (&json!(7.0), &json!("2026-08-12T16:21:18Z")));
        assert_eq!(model.check(normal.clone()), Ok(normal.clone()));
        assert_eq!(model.read(normal.to_string().as_bytes()), Ok(normal));
    }

    #[test]
    fn a_refusal_says_where_and_why() {
        let refused = |payload| refused("EventOutcomeLink", payload);
        assert_eq!(refused(json!([])), (String::new(), Reason::NotA("an object")));
        assert_eq!(refused(with("lag_s", json!("7"))), ("/lag_s".into(), Reason::NotA("a number")));
        assert_eq!(refused(with("lag_s", json!(-1e-9))), ("/lag_s".into(), Reason::Range));
        assert_eq!(refused(with("horizon_s", json!(0))), ("/horizon_s".into(), Reason::Range));
        let beyond = Reason::Rule("greater than the horizon");
        assert_eq!(refused(with("lag_s", json!(604_800.5))), ("/lag_s".into(), beyond));
        let flags = json!(["a", "b", "a"]);
        assert_eq!(
            refused(with("eligibility_flags", flags)),
            ("/eligibility_flags/2".into(), Reason::Repeated)
        );
        assert_eq!(refused(with("a/b~", json!(1))), ("/a~1b~0".into(), Reason::Unknown));
        let malformed = Model::named("EventOutcomeLink").expect("a model").read(b"{").expect_err("a refusal");
        assert_eq!(Rejection::from(malformed), Rejection::new("malformed_json", "\"\": not JSON"));
    }

    #[test]
    fn a_context_without_a_snapshot_is_none() {
        for context in [json!({}), json!({"streamer": null}), json!({"streamer": null, "operator": null})] {
            assert_eq!(refused("PhysiologicalContext", context).0, "");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z_/~]{0,8}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Any value in any place is accepted in a stable normal form, or refused at that place.
        #[test]
        fn any_value_in_any_place(value in any_json(), at in any::<prop::sample::Index>()) {
            let model = Model::named("EventOutcomeLink").expect("a model");
            let field = &model.fields[at.index(model.fields.len())];
            match model.check(with(field.name, value)) {
                Ok(normal) => prop_assert_eq!(model.check(normal.clone()), Ok(normal)),
                Err(violation) => {
                    let place = format!("/{}", field.name);
                    prop_assert!(violation.path.starts_with(&place) || violation.path == "/lag_s");
                }
            }
        }

        #[test]
        fn no_document_panics(text in any::<Vec<u8>>(), document in any_json()) {
            for model in MODELS {
                let _ = (model.read(&text), model.check(document.clone()));
            }
        }
    }
}
