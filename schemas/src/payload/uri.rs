//! Whether a text is an absolute URI (RFC 3986 §4.3), by its form alone.

/// A scheme, a colon, and something after it, all of characters a URI may have. With an authority (`//`) the host
/// is not empty, but for `file`.
pub(super) fn is_absolute(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let has_target = match rest.strip_prefix("//") {
        Some(rest) => {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let host = authority.rsplit('@').next().unwrap_or_default();
            (!host.is_empty() && !host.starts_with(':'))
                || (scheme.eq_ignore_ascii_case("file") && !rest.is_empty())
        }
        None => !rest.is_empty(),
    };
    is_scheme && has_target && text.chars().all(may_occur)
}

/// Letters beyond ASCII are taken too, as browsers show them.
fn may_occur(c: char) -> bool {
    !c.is_control()
        && !c.is_whitespace()
        && !matches!(c, '<' | '>' | '"' | '{' | '}' | '|' | '\\' | '^' | '`')
}

#[cfg(test)]
mod tests {
    use super::is_absolute;

    #[test]
    fn forms() {
        let good = [
            "https://example.test/@creator/live",
            "rtmp://host:1935/app/key?x=1#y",
            "tiktok://user/live",
            "file:///srv/media/stream.mkv",
            "urn:uuid:0",
            "HTTPS://EXAMPLE.TEST",
            "https://user:pw@[::1]:8080/",
        ];
        let bad = [
            "",
            ":",
            "not a url",
            "https:",
            "https://",
            "https:///path",
            "https://:80/",
            "//host/path",
            "/path",
            "1http://host",
            "ht tp://host",
            "https://ho st/",
            "https://host/\n",
            "https://user@/",
            "file://",
        ];
        for text in good {
            assert!(is_absolute(text), "{text}");
        }
        for text in bad {
            assert!(!is_absolute(text), "{text}");
        }
    }
}
