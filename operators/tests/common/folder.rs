//! Where the tests find the models.

use std::path::PathBuf;

/// Where `make models` puts the files.
pub(crate) fn models_folder() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = variable("LSIE_CACHE").or_else(|| Some(variable("XDG_CACHE_HOME")?.join("lsie")));
    let cache = cache.or_else(|| Some(variable("HOME")?.join(".cache/lsie")));
    cache.expect("a home directory").join("models/v5")
}
