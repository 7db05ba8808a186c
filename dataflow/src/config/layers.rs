//! One layer of settings over another: a file over the defaults, the environment over both.

use anyhow::{Context, bail};
use toml::{Table, Value};

/// Lays `over` on `base`, table by table; refuses keys that `base` does not know.
pub(super) fn overlay(base: &mut Table, over: Table, path: &str) -> anyhow::Result<()> {
    for (key, value) in over {
        let name = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let free = path == "log.properties";
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => overlay(base, over, &name)?,
            (Some(known), value) if known.type_str() == value.type_str() => *known = value,
            (Some(known), value) => {
                bail!("{name} is a {}, wanted is a {}", value.type_str(), known.type_str())
            }
            (None, value) if free => {
                base.insert(key, value);
            }
            (None, _) => bail!("{name} is not a setting; `lsie config show` lists all"),
        }
    }
    Ok(())
}

/// Lays variables on `base`: `LSIE_ENGINE_WORKERS` is `engine.workers`. Texts are taken as they are, other types as
/// in the file. Variables of other programs are passed over; one that begins like a section but names no setting
/// of it is refused, for it is a slip.
pub(super) fn environment(
    base: &mut Table,
    variables: impl Iterator<Item = (String, String)>,
) -> anyhow::Result<()> {
    for (name, text) in variables {
        let Some(rest) = name.strip_prefix("LSIE_") else { continue };
        let section = base.iter_mut().find_map(|(section, settings)| {
            let key = rest.strip_prefix(&section.to_uppercase())?.strip_prefix('_')?;
            Some((section.clone(), settings.as_table_mut()?, key.to_lowercase()))
        });
        let Some((section, settings, key)) = section else { continue };
        let Some(known) = settings.get_mut(&key).filter(|known| !known.is_table()) else {
            bail!("{name}: {section}.{key} is not a setting; `lsie config show` lists all");
        };
        *known = value_like(known, &text).with_context(|| format!("{name} ({section}.{key})"))?;
    }
    Ok(())
}

/// The value of a text, of the type of `known`.
fn value_like(known: &Value, text: &str) -> anyhow::Result<Value> {
    if known.is_str() {
        return Ok(Value::String(text.to_string()));
    }
    let mut line: Table = format!("value = {text}").parse().context("not a TOML value")?;
    let value = line.remove("value").context("not a TOML value")?;
    if value.type_str() != known.type_str() {
        bail!("is a {}, wanted is a {}", value.type_str(), known.type_str());
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid(variables: &[(&str, &str)]) -> anyhow::Result<Table> {
        let mut base: Table =
            "[log]\naddress = \"a\"\ntopics = []\n[log.properties]\n[engine]\nworkers = 1".parse()?;
        environment(&mut base, variables.iter().map(|(name, value)| (name.to_string(), value.to_string())))?;
        Ok(base)
    }

    #[test]
    fn variables_of_settings_are_taken_with_their_types() {
        let table = laid(&[
            ("LSIE_LOG_ADDRESS", "file:/x = y"),
            ("LSIE_ENGINE_WORKERS", "4"),
            ("LSIE_LOG_TOPICS", "[\"av.audio\"]"),
        ])
        .expect("settings");
        assert_eq!(table["log"]["address"].as_str(), Some("file:/x = y"));
        assert_eq!(table["engine"]["workers"].as_integer(), Some(4));
        assert_eq!(table["log"]["topics"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn other_variables_are_passed_over() {
        assert!(laid(&[("LSIE_LOG", "debug"), ("LSIE_CACHE", "/c"), ("HOME", "/h"), ("LSIE", "")]).is_ok());
    }

    #[test]
    fn a_slip_is_refused_by_its_name() {
        let refused = |variable| format!("{:#}", laid(&[variable]).expect_err("a slip"));
        assert!(refused(("LSIE_ENGINE_WORKER", "4")).contains("LSIE_ENGINE_WORKER: engine.worker is not"));
        assert!(refused(("LSIE_ENGINE_WORKERS", "many")).contains("LSIE_ENGINE_WORKERS (engine.workers)"));
        assert!(refused(("LSIE_ENGINE_WORKERS", "\"4\"")).contains("wanted is a integer"));
        assert!(refused(("LSIE_LOG_PROPERTIES", "x")).contains("log.properties is not a setting"));
    }
}
