//! `lsie config`: what the settings are, and whether they hold together.

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use toml::{Table, Value};

use crate::config::{Config, DEFAULTS};

/// What is shown in place of a secret.
const MASK: &str = "********";
/// Parts of the names of settings, and of a client's properties, whose values are secrets.
const SECRETS: [&str; 5] = ["password", "secret", "token", "private", "jaas"];

/// Check or show the settings as they hold: the defaults, then the file, then LSIE_<SECTION>_<KEY> of the environment.
#[derive(Debug, Args)]
pub(super) struct Settings {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum What {
    /// Read all layers, and check values and the relations between them.
    Check,
    /// Print every setting with its value; secrets are masked.
    Show,
    /// Print the commented file of all defaults, to start a file of one's own from.
    Defaults,
}

impl Settings {
    pub(super) fn run(self, file: Option<&Path>) -> anyhow::Result<ExitCode> {
        match self.what {
            What::Check => {
                Config::load(file)?;
                println!("ok");
            }
            What::Show => print!("{}", toml::to_string(&masked(Config::settings(file)?))?),
            What::Defaults => print!("{DEFAULTS}"),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn masked(settings: Table) -> Table {
    settings.into_iter().map(|(key, value)| (key.clone(), masked_value(&key, value))).collect()
}

fn masked_value(key: &str, value: Value) -> Value {
    let secret = SECRETS.iter().any(|part| key.to_lowercase().contains(part)) && !key.ends_with("_file");
    match value {
        Value::Table(table) => Value::Table(masked(table)),
        Value::Array(items) => Value::Array(items.into_iter().map(|item| masked_value(key, item)).collect()),
        Value::String(text) if secret && !text.is_empty() => Value::String(MASK.into()),
        Value::String(text) => Value::String(without_password(text)),
        other => other,
    }
}

/// A URL without the password in it.
fn without_password(text: String) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let Some((user, host)) = authority.rsplit_once('@') else { return text };
    let Some((name, _)) = user.split_once(':') else { return text };
    format!("{scheme}://{name}:{MASK}@{host}{}", &rest[authority.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        let settings: Table = concat!(
            "[postgres]\nurl = \"postgresql://lsie:pa:ss@db:5432/lsie?x=a@b\"\npassword_file = \"/run/p\"\n",
            "[log.properties]\n\"sasl.password\" = \"p\"\n\"client.id\" = \"c\"\n[api]\ntokens = [\"t\", \"\"]"
        )
        .parse()
        .expect("settings");
        let shown = masked(settings);
        assert_eq!(shown["postgres"]["url"].as_str(), Some("postgresql://lsie:********@db:5432/lsie?x=a@b"));
        assert_eq!(shown["postgres"]["password_file"].as_str(), Some("/run/p"));
        assert_eq!(shown["log"]["properties"]["sasl.password"].as_str(), Some(MASK));
        assert_eq!(shown["log"]["properties"]["client.id"].as_str(), Some("c"));
        assert_eq!(shown["api"]["tokens"][0].as_str(), Some(MASK));
    }
}
