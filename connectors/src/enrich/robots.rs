//! robots.txt (RFC 9309): which paths of a site we may visit.

/// The name by which sites address us.
pub(super) const NAME: &str = "lsie";
/// More of a file is not read (RFC 9309 §2.5).
pub(super) const MOST_BYTES: usize = 500 << 10;

/// The rules of a site that are meant for us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Robots {
    /// Whether the path may be visited, and the pattern it begins with.
    rules: Vec<(bool, String)>,
}

impl Robots {
    /// Everything may be visited.
    pub(super) fn all() -> Robots {
        Robots::default()
    }

    /// Nothing may be visited: what the rules are is not known.
    pub(super) fn none() -> Robots {
        Robots { rules: vec![(false, "/".into())] }
    }

    /// Reads a file: the groups that name us, else those of everyone. Never fails; what is no rule is passed over.
    pub fn read(text: &str) -> Robots {
        let (mut ours, mut everyones) = (None, Vec::new());
        let (mut names, mut in_rules): (Vec<String>, bool) = (Vec::new(), false);
        for line in text.trim_start_matches('\u{feff}').lines() {
            let line = line.split('#').next().unwrap_or_default();
            let Some((key, value)) = line.split_once(':') else { continue };
            let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
            match key.as_str() {
                "user-agent" => {
                    if std::mem::take(&mut in_rules) {
                        names.clear();
                    }
                    names.push(value.to_ascii_lowercase());
                    // A group that names us counts even if it says nothing.
                    if value.eq_ignore_ascii_case(NAME) {
                        ours.get_or_insert_with(Vec::new);
                    }
                }
                "allow" | "disallow" => {
                    in_rules = true;
                    if value.is_empty() {
                        continue;
                    }
                    let rule = (key == "allow", normal(value));
                    if names.iter().any(|name| name == NAME) {
                        ours.get_or_insert_with(Vec::new).push(rule.clone());
                    }
                    if names.iter().any(|name| name == "*") {
                        everyones.push(rule);
                    }
                }
                _ => {}
            }
        }
        Robots { rules: ours.unwrap_or(everyones) }
    }

    /// Whether a path, with its query, may be visited: the longest pattern decides, among equals the one that allows.
    pub fn allows(&self, path: &str) -> bool {
        let path = normal(path);
        if path == "/robots.txt" {
            return true;
        }
        let fitting = self.rules.iter().filter(|(_, pattern)| matches(pattern, &path));
        fitting.max_by_key(|(allowed, pattern)| (pattern.len(), *allowed)).is_none_or(|(allowed, _)| *allowed)
    }
}

/// Percent-encodings in one spelling: of what needs none resolved, all others in capitals.
fn normal(path: &str) -> String {
    let (mut out, bytes, mut at) = (String::with_capacity(path.len()), path.as_bytes(), 0);
    while let Some(&byte) = bytes.get(at) {
        let encoded = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        let encoded = encoded.filter(|_| byte == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match encoded {
            Some(plain) if plain.is_ascii_alphanumeric() || b"-._~".contains(&plain) => {
                out.push(plain as char)
            }
            Some(other) => out.push_str(&format!("%{other:02X}")),
            None if byte.is_ascii() => out.push(byte as char),
            None => out.push_str(&format!("%{byte:02X}")),
        }
        at += if encoded.is_some() { 3 } else { 1 };
    }
    out
}

/// Whether a path begins as a pattern says: `*` stands for anything, `$` at the end for the end. Linear in both for each
/// star, without recursion.
fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, to_the_end) = match pattern.strip_suffix('$') {
        Some(rest) => (rest, true),
        None => (pattern, false),
    };
    let mut pieces = pattern.split('*');
    let Some(mut rest) = path.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return !to_the_end || rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() && to_the_end {
            return rest.ends_with(piece);
        }
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_pattern_decides() {
        let robots = Robots::read(
            "User-agent: *\nDisallow: /private\nAllow: /private/open # comment\nDisallow: /*.gif$\nDisallow: /a*/c\nDisallow: /q?\nDisallow: /caf%c3%a9\n",
        );
        let table = [
            ("/", true),
            ("/private", false),
            ("/privately", false),
            ("/private/open", true),
            ("/private/open/x", true),
            ("/x.gif", false),
            ("/x.gif?y", true),
            ("/abc/c", false),
            ("/abc", true),
            ("/q", true),
            ("/q?x=1", false),
            ("/café", false),
            ("/%70rivate", false),
            ("/robots.txt", true),
        ];
        for (path, allowed) in table {
            assert_eq!(robots.allows(path), allowed, "{path}");
        }
    }

    #[test]
    fn a_group_that_names_us_counts_alone() {
        let text = "user-agent: other\nuser-agent: LSIE\ndisallow: /a\n\nUser-Agent: *\nDisallow: /\n\nuser-agent: lsie\ndisallow: /b";
        let robots = Robots::read(text);
        assert!(robots.allows("/c") && !robots.allows("/a") && !robots.allows("/b"));
        let everything = Robots::read("user-agent: lsie\ndisallow:\n\nuser-agent: *\ndisallow: /");
        assert!(everything.allows("/x"));
        assert!(!Robots::read("user-agent: *\ndisallow: /").allows("/x"));
        assert!(Robots::read("user-agent: other\ndisallow: /").allows("/x"));
        assert!(Robots::read("disallow: /\n<html>").allows("/x"), "a rule of no group");
        assert!(Robots::all().allows("/x") && !Robots::none().allows("/x"));
        let equal = Robots::read("user-agent: *\ndisallow: /p\nallow: /p");
        assert!(equal.allows("/p"));
    }

    proptest! {
        #[test]
        fn no_file_panics(text in "\\PC*", path in "/\\PC*") {
            let _ = Robots::read(&text).allows(&path);
        }

        #[test]
        fn a_pattern_without_signs_is_a_prefix(pattern in "/[a-z/]{0,6}", path in "/[a-z/]{0,9}") {
            prop_assert_eq!(matches(&pattern, &path), path.starts_with(&pattern));
            prop_assert_eq!(matches(&format!("{pattern}$"), &path), path == pattern);
            let within = path.get(1..).is_some_and(|rest| rest.contains(&pattern[1..]));
            let starred = format!("/*{}", &pattern[1..]);
            prop_assert_eq!(matches(&starred, &path), within);
        }
    }
}
