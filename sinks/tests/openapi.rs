//! The OpenAPI document and the routes are one: every operation answers as it says, and nothing else is served.

mod common;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use common::{a_row_of, change, drive, session, session_id};
use lsie_schemas::Change;
use lsie_sinks::views::{Api, Shutdown};
use lsie_sinks::{Catalog, Views};
use serde_json::Value;
use tower::ServiceExt;

/// Views with one row in every table, of a session that runs.
fn views() -> Views {
    let views = Views::new(Catalog::served());
    let session = change(1000, &session(1, 0, None), 1);
    let others = Catalog::served().without(&["sessions"]);
    let rows = others.tables().iter().map(|table| Change {
        table: table.name.into(),
        row: a_row_of(table, session_id(1)),
        epoch: lsie_schemas::LogTime(1000),
        diff: 1,
    });
    let rows: Vec<Change> = std::iter::once(session).chain(rows).collect();
    drive(&mut views.sink(), &[(1000, rows)]);
    views
}

async fn call(views: &Views, method: &str, path: &str) -> (StatusCode, String, Value) {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
    let response = Api::new(views).router(Shutdown::never()).oneshot(request).await.expect("infallible");
    let status = response.status();
    let kind =
        response.headers().get("content-type").expect("on every answer").to_str().expect("text").to_owned();
    if kind == "text/event-stream" {
        return (status, kind, Value::from(""));
    }
    let bytes = to_bytes(response.into_body(), 4 << 20).await.expect("a body");
    (status, kind, serde_json::from_slice(&bytes).expect("JSON"))
}

/// A path with its parameters given: the session, an experiment and arm named by the empty row, any view.
fn filled(path: &str) -> String {
    path.replace("{session_id}", &session_id(1).to_string())
        .replace("{experiment_id}", "text")
        .replace("{arm_id}", "text")
        .replace("{view}", "metrics")
}

#[tokio::test]
async fn every_operation_answers_as_it_says() {
    let views = views();
    let (_, _, document) = call(&views, "GET", "/api/v1/openapi.json").await;
    let mut operations = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            operations += 1;
            let (status, kind, body) = call(&views, &method.to_uppercase(), &filled(path)).await;
            let said = &operation["responses"][status.as_str()]["content"][&kind];
            assert!(said.is_object(), "{method} {path}: {status} {kind} is not in the document: {body}");
            if method == "get" {
                assert_eq!(status, StatusCode::OK, "{path}: {body}");
                check(&said["schema"], &body, &format!("{method} {path}"));
            }
        }
    }
    assert!(operations > 30, "{operations}");
}

/// Holds a value against the part of JSON Schema that the document uses.
fn check(schema: &Value, value: &Value, at: &str) {
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let fits = |ty: &&str| match *ty {
        "null" => value.is_null(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => false,
    };
    assert!(
        value.is_null() && types.is_empty() || types.is_empty() || types.iter().any(fits),
        "{at}: {value} is no {types:?}"
    );
    if let (Some(any), true) = (schema["anyOf"].as_array(), !value.is_null()) {
        let object = any.iter().find(|part| part["type"] == "object").expect("a record or null");
        return check(object, value, at);
    }
    for item in value.as_array().into_iter().flatten() {
        check(&schema["items"], item, at);
    }
    for name in schema["required"].as_array().into_iter().flatten().filter(|_| value.is_object()) {
        assert!(value.get(name.as_str().expect("a name")).is_some(), "{at}: no {name}");
    }
    let Some(properties) = schema["properties"].as_object() else { return };
    for (name, field) in value.as_object().into_iter().flatten() {
        match properties.get(name) {
            Some(schema) => check(schema, field, &format!("{at}.{name}")),
            None => panic!("{at}: {name} is not in the document"),
        }
    }
}
