//! `GET /` of a binary without the console: a page for people that says how to get it, and what is served.

use std::fmt::Write as _;

use axum::extract::State;
use axum::response::Html;
use lsie_schemas::shape;

use crate::views::Views;
use crate::views::router::App;

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>LSIE</title>
<style>
  :root { color-scheme: light dark }
  body { font: 16px/1.5 system-ui, sans-serif; color: light-dark(#222, #ddd); background: light-dark(#fff, #15181d) }
  body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: break-word }
  a { color: light-dark(#0a58ca, #7db4ff) }
  code { background: light-dark(#f3f3f3, #2a2f37); padding: 0 .2rem }
  table { border-collapse: collapse; width: 100% }
  td, th { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #8884; vertical-align: top }
</style>
<main>
<h1>LSIE</h1>
<p><strong>The operator console is not in this build.</strong> To have it here: install Node 18 or newer with npm, run
<code>make console build</code> in the source folder, and start <code>lsie</code> again. The API does not need it.</p>
<p>The API is at <code>/api/v1</code>. Every answer names the epoch it is as of in the header
<code>X-Lsie-Epoch</code> (log time, ms).</p>
<ul>
<li><a href="/api/v1/sessions">/api/v1/sessions</a>,
    <code>/api/v1/sessions/{session_id}</code></li>
<li><a href="/api/v1/encounters">/api/v1/encounters</a>,
    <code>/api/v1/encounters/{experiment_id}/summary</code></li>
<li><a href="/api/v1/experiments">/api/v1/experiments</a>,
    <code>/api/v1/experiments/{experiment_id}</code></li>
<li><a href="/api/v1/segments">/api/v1/segments</a></li>
<li><a href="/api/v1/views">/api/v1/views</a>: every view, with its columns</li>
<li><a href="/health">/health</a>: whether the process lives</li>
</ul>
"#;

/// The page, where there is no console.
pub(crate) async fn index(State(app): State<App>) -> Html<String> {
    Html(contents(&app.views))
}

/// A page for people: how to get the console, and every view that is served.
pub fn contents(views: &Views) -> String {
    let mut html = HEAD.to_owned();
    let state = views.read();
    // Writing into a `String` cannot fail.
    let _ = match (state.serving, state.epoch()) {
        (false, _) => {
            writeln!(html, "<p>The engine is starting or has stopped; there are no rows to show.</p>")
        }
        (true, None) => writeln!(html, "<p>No epoch is complete yet.</p>"),
        (true, Some(epoch)) => writeln!(html, "<p>As of {}:</p>", epoch.as_event().canonical()),
    };
    html.push_str("<table>\n<tr><th>View<th>Rows<th>Stream<th>A row is\n");
    for (table, rows) in views.catalog().tables().iter().zip(&state.tables) {
        let (name, doc) = (table.name, escape(&shape::text(table.doc)));
        let _ = writeln!(
            html,
            "<tr><td><a href=\"/api/v1/views/{name}\">{name}</a><td>{}\
             <td><a href=\"/api/v1/views/{name}/changes\">changes</a><td>{doc}",
            rows.len()
        );
    }
    html.push_str("</table>\n</main>\n");
    html
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
