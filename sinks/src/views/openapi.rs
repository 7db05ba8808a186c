//! `GET /openapi.json`: the OpenAPI document, made of the same list of routes that the router serves and that requests
//! are read by.

use lsie_schemas::shape;
use serde_json::{Map, Value, json};

use crate::Catalog;
use crate::views::record_stream;
use crate::views::reply::Reply;
use crate::views::route::{Answer, Input, Kind, MAX_ARMS, MAX_ID, MAX_TEXT, Place, Returns, Route};
use crate::views::router;

/// The route of the document itself.
pub(crate) const ROUTES: &[Route] =
    &[Route::get("/openapi.json", "This document.", &[], Returns::One(any), |_, _| {
        Ok(Reply::Document(document()))
    })];

/// The document.
pub(crate) fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in router::ROUTES.iter().copied().flatten() {
        let path = paths.entry(format!("/api/v1{}", route.path)).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "LSIE",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The served views of a live stream inference engine, and the actions of its operators. \
                            Every answer names the epoch it is as of in X-Lsie-Epoch (log time, ms).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {"Fault": fault()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    })
}

fn any() -> Value {
    json!({"type": "object"})
}

fn operation(route: &Route) -> Value {
    let parameters: Vec<Value> =
        route.all_inputs().filter(|input| input.place != Place::Body).map(parameter).collect();
    let mut operation = json!({
        "summary": route.doc,
        "operationId": operation_id(route),
        "parameters": parameters,
        "responses": responses(route),
    });
    let body: Vec<&Input> = route.inputs.iter().filter(|input| input.place == Place::Body).collect();
    if !body.is_empty() {
        let content = json!({"application/json": {"schema": body_schema(&body)}});
        operation["requestBody"] = json!({"required": true, "content": content});
    }
    operation
}

/// `get_sessions_session_id`.
fn operation_id(route: &Route) -> String {
    let words = route.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let method = route.method.as_str().to_lowercase();
    std::iter::once(method.as_str()).chain(words).collect::<Vec<_>>().join("_")
}

fn parameter(input: &Input) -> Value {
    json!({
        "name": input.name,
        "in": input.place.name(),
        "required": input.required,
        "description": input.doc,
        "schema": input_schema(input.kind),
    })
}

fn body_schema(inputs: &[&Input]) -> Value {
    let required: Vec<&str> = inputs.iter().filter(|input| input.required).map(|input| input.name).collect();
    let property = |input: &&Input| {
        let mut schema = input_schema(input.kind);
        schema["description"] = input.doc.into();
        (input.name.to_owned(), schema)
    };
    let properties: Map<String, Value> = inputs.iter().map(property).collect();
    // Where nothing is required, something must still be there.
    let least = u8::from(required.is_empty());
    json!({
        "type": "object",
        "required": required,
        "properties": properties,
        "minProperties": least,
        "additionalProperties": false,
    })
}

fn input_schema(kind: Kind) -> Value {
    /// Something that is no blank, and no control character.
    const TEXT: &str = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$";
    match kind {
        Kind::Word => json!({"type": "string", "minLength": 1}),
        Kind::Text { max } => json!({"type": "string", "minLength": 1, "maxLength": max, "pattern": TEXT}),
        Kind::Note { max } => json!({"type": ["string", "null"], "maxLength": max}),
        Kind::Uuid => json!({"type": "string", "format": "uuid"}),
        Kind::Flag => json!({"type": "boolean", "default": false}),
        Kind::Limit { default, max } => {
            json!({"type": "integer", "minimum": 1, "maximum": max, "default": default})
        }
        Kind::Time => json!({"type": "string", "format": "date-time"}),
        Kind::Epoch => json!({"type": "integer", "minimum": 0}),
        Kind::Off => json!({"type": "boolean", "enum": [false]}),
        Kind::Arms => {
            let arm = json!({
                "type": "object",
                "required": ["arm", "greeting_text"],
                "properties": {
                    "arm": input_schema(Kind::Text { max: MAX_ID }),
                    "greeting_text": input_schema(Kind::Text { max: MAX_TEXT }),
                },
                "additionalProperties": false,
            });
            json!({"type": "array", "items": arm, "minItems": 1, "maxItems": MAX_ARMS})
        }
    }
}

fn responses(route: &Route) -> Value {
    let json = |schema: Value| json!({"application/json": {"schema": schema}});
    let list = |schema: Value| json!({"type": "array", "items": schema});
    let (status, mut content) = match &route.returns {
        Returns::Rows(table, columns) => ("200", table_content(list(row_schema(table, columns)))),
        Returns::AnyRows => ("200", table_content(list(any()))),
        Returns::Many(schema) => ("200", json(list(schema()))),
        Returns::One(schema) => ("200", json(schema())),
        Returns::Created(schema) => ("201", json(schema())),
        Returns::Events => ("200", json!({"text/event-stream": {"schema": {"type": "string"}}})),
    };
    if record_stream::is_offered(route) {
        content["text/event-stream"] = json!({"schema": {"type": "string"}});
    }
    let epoch = json!({"schema": {"type": "integer", "minimum": 0}, "description": "Log time, ms."});
    let headers = json!({"X-Lsie-Epoch": epoch});
    let mut responses =
        json!({ status: {"description": "The answer.", "headers": headers, "content": content} });
    for (status, description) in faults(route) {
        let content = json(json!({"$ref": "#/components/schemas/Fault"}));
        responses[status] = json!({"description": description, "headers": headers, "content": content});
    }
    responses
}

/// A list of rows, as JSON and as CSV.
fn table_content(schema: Value) -> Value {
    json!({"application/json": {"schema": schema}, "text/csv": {"schema": {"type": "string"}}})
}

/// These columns of a table; one that the table does not have is a count.
fn row_schema(table: &str, columns: &[&str]) -> Value {
    let schema = Catalog::served().table(table).map(shape::json_schema).unwrap_or_default();
    let property = |name: &&str| {
        let known = schema["properties"].get(*name).cloned();
        (name.to_string(), known.unwrap_or_else(|| json!({"type": "integer", "minimum": 0})))
    };
    let properties: Map<String, Value> = columns.iter().map(property).collect();
    json!({"type": "object", "required": columns, "properties": properties, "additionalProperties": false})
}

fn faults(route: &Route) -> Vec<(&'static str, &'static str)> {
    let mut faults = vec![
        ("401", "Who asks is not known."),
        ("403", "Who asks may not."),
        ("404", "What the path names is not there."),
        ("422", "The request is invalid."),
        ("429", "Too many requests."),
        ("503", "The views are not available, or the log does not acknowledge."),
    ];
    if let Answer::Act(_) = route.answer {
        faults.push(("409", "The state does not allow it."));
        faults.push(("413", "The body is too large."));
    }
    faults
}

fn fault() -> Value {
    let text = json!({"type": "string"});
    let location = json!({"type": "array", "items": text, "minItems": 2, "maxItems": 2});
    let problem = json!({
        "type": "object",
        "required": ["location", "message", "type"],
        "properties": {"location": location, "message": text, "type": text},
    });
    json!({
        "type": "object",
        "required": ["detail"],
        "properties": {"detail": {"oneOf": [text, {"type": "array", "items": problem}]}},
    })
}
