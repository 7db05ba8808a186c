//! Rows as CSV (RFC 4180): a header line, texts as they are, everything else as JSON (`contracts.md` §13).

use serde_json::{Map, Value};

/// The text of rows with these columns.
pub(crate) fn write(columns: &[&str], rows: &[Map<String, Value>]) -> String {
    let mut text = line(columns.iter().map(|name| (*name).to_owned()));
    for row in rows {
        text.push_str(&line(columns.iter().map(|name| match row.get(*name) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => Value::Null.to_string(),
        })));
    }
    text
}

fn line(fields: impl Iterator<Item = String>) -> String {
    let fields: Vec<String> = fields.map(quoted).collect();
    fields.join(",") + "\r\n"
}

fn quoted(field: String) -> String {
    match field.contains(['"', ',', '\r', '\n']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_needs_quotes_has_them() {
        let row = json!({"a": "x, \"y\"\nz", "b": null, "c": true, "d": 0.1, "e": ["p", "q"], "f": "plain"});
        let rows = [row.as_object().expect("an object").clone()];
        let expected = "a,b,c,d,e,f\r\n\"x, \"\"y\"\"\nz\",null,true,0.1,\"[\"\"p\"\",\"\"q\"\"]\",plain\r\n";
        assert_eq!(write(&["a", "b", "c", "d", "e", "f"], &rows), expected);
        assert_eq!(write(&["a"], &[]), "a\r\n");
    }
}
