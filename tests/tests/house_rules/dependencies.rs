//! What dependencies may be, by `deny.toml`: the part of `make deny` that needs nothing but the packages themselves.
//! (Advisories and versions that were taken back need a network of their own.)

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{Metadata, MetadataCommand, Package, PackageId};
use serde::Deserialize;

use super::workspace;

#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
    #[serde(default)]
    wrappers: Vec<String>,
}

fn deny() -> Deny {
    let text = std::fs::read_to_string(workspace().join("deny.toml")).expect("deny.toml");
    toml::from_str(&text).expect("deny.toml as cargo-deny reads it")
}

/// Everything that is built for the one target.
fn everything() -> Metadata {
    let target = ["--locked", "--filter-platform", "x86_64-unknown-linux-gnu"].map(String::from);
    MetadataCommand::new().current_dir(workspace()).other_options(target).exec().expect("cargo metadata")
}

/// Whether licences that are allowed satisfy an expression of SPDX.
fn satisfied(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    either(&words, &mut at, allowed) && at == words.len()
}

fn either(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut any = both(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        any |= both(words, at, allowed);
    }
    any
}

fn both(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut all = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        all &= one(words, at, allowed);
    }
    all
}

fn one(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let inner = either(words, at, allowed);
        *at += 1;
        return inner;
    }
    let mut name = word.to_string();
    if words.get(*at) == Some(&"WITH") {
        name = format!("{name} WITH {}", words.get(*at + 1).copied().unwrap_or_default());
        *at += 2;
    }
    allowed.contains(&name)
}

#[test]
fn expressions_of_licences_are_read() {
    let allowed: BTreeSet<String> = ["MIT", "Apache-2.0 WITH LLVM-exception", "ISC"].map(String::from).into();
    let cases = [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("MIT/Apache-2.0", true),
        ("MIT AND GPL-3.0", false),
        ("(GPL-3.0 OR MIT) AND ISC", true),
        ("(GPL-3.0 OR MIT) AND GPL-3.0", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
        ("", false),
    ];
    for (expression, wanted) in cases {
        assert_eq!(satisfied(expression, &allowed), wanted, "{expression}");
    }
}

#[test]
fn dependencies_are_what_deny_toml_allows() {
    let (deny, metadata) = (deny(), everything());
    let packages: BTreeMap<&PackageId, &Package> = metadata.packages.iter().map(|p| (&p.id, p)).collect();
    let mut faults = Vec::new();
    for package in packages.values().filter(|package| package.source.is_some()) {
        let name = &package.name;
        if !package.source.as_ref().is_some_and(|source| source.is_crates_io()) {
            faults.push(format!("{name} does not come from crates.io"));
        }
        let licence = package.license.as_deref().unwrap_or_default();
        if !satisfied(licence, &deny.licenses.allow) {
            faults.push(format!("{name}: licence {licence:?} is not among those of deny.toml"));
        }
    }
    let resolved = metadata.resolve.as_ref().expect("a resolved graph");
    for node in &resolved.nodes {
        let user = packages[&node.id].name.to_string();
        for used in node.deps.iter().map(|dependency| packages[&dependency.pkg].name.to_string()) {
            let banned = deny.bans.deny.iter().find(|ban| ban.name == used);
            if let Some(ban) = banned.filter(|ban| !ban.wrappers.contains(&user)) {
                faults.push(format!("{user} must not use {used}: {}", ban.reason));
            }
        }
    }
    assert!(packages.len() > 100, "the graph is whole");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
