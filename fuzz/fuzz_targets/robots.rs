//! robots.txt of any site: what is no rule is passed over, and what forbids nothing allows everything.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lsie_connectors::enrich::Robots;

fuzz_target!(|input: (&str, &str)| {
    let (text, path) = input;
    let robots = Robots::read(text);
    let allowed = robots.allows(path);
    assert_eq!(allowed, robots.allows(path));
    if !text.to_ascii_lowercase().contains("disallow") {
        assert!(allowed);
    }
});
