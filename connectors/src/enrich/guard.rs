//! Whom a browser may talk to: hosts that are named, at addresses that are public.
//!
//! A name says nothing about where it leads, and may lead elsewhere a moment later. So addresses are judged where
//! connections are made, and the connection goes to the very address that was judged ([`super::proxy`]).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refusal {
    /// Nobody has named the host, or the port.
    Host,
    /// The name leads into a network that is not public.
    Private,
    /// The name leads nowhere.
    Unresolved,
}

/// A host that is let in: `example.org`, `*.example.org` (and what is below it), perhaps with `:PORT`. Without a port 80
/// and 443 are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    host: String,
    below: bool,
    port: Option<u16>,
}

impl Pattern {
    fn read(text: &str) -> Option<Pattern> {
        let (host, port) = split(text)?;
        let (host, below) = match host.strip_prefix("*.") {
            Some(domain) => (domain, true),
            None => (host, false),
        };
        let bare = host.trim_matches(['[', ']']);
        let is_name =
            !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
        (is_name || bare.parse::<Ipv6Addr>().is_ok()).then(|| Pattern { host: normal(host), below, port })
    }

    fn admits(&self, host: &str, port: u16) -> bool {
        let named = match self.below {
            true => host.strip_suffix(&self.host).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1),
            false => host == self.host,
        };
        named && self.port.map_or(port == 80 || port == 443, |named| named == port)
    }
}

/// The hosts that are named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    public: Vec<Pattern>,
    private: Vec<Pattern>,
}

impl Hosts {
    /// Hosts that must be public, and hosts that may be anywhere. An error names the pattern that is none.
    pub fn new(public: &[String], private: &[String]) -> Result<Hosts, String> {
        let read = |patterns: &[String]| {
            let read = |text: &String| Pattern::read(text).ok_or_else(|| format!("{text:?} is no host"));
            patterns.iter().map(read).collect::<Result<Vec<_>, _>>()
        };
        Ok(Hosts { public: read(public)?, private: read(private)? })
    }

    /// Whether nobody is let in.
    pub fn is_empty(&self) -> bool {
        self.public.is_empty() && self.private.is_empty()
    }

    /// Whether an authority, `HOST` or `HOST:PORT`, is named.
    pub(super) fn names(&self, authority: &str, default_port: u16) -> bool {
        self.find(authority, default_port).is_some()
    }

    /// The host without its brackets, the port, and whether it may be anywhere.
    fn find(&self, authority: &str, default_port: u16) -> Option<(String, u16, bool)> {
        let (host, port) = split(authority)?;
        let (host, port) = (normal(host), port.unwrap_or(default_port));
        let among = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.admits(&host, port));
        let anywhere = among(&self.private);
        let bare = host.trim_matches(['[', ']']).to_owned();
        (anywhere || among(&self.public)).then_some((bare, port, anywhere))
    }

    /// The addresses that an authority may be reached at. If one of them is not public, none is.
    pub(super) fn resolve(&self, authority: &str, default_port: u16) -> Result<Vec<SocketAddr>, Refusal> {
        let (host, port, anywhere) = self.find(authority, default_port).ok_or(Refusal::Host)?;
        let found = (host.as_str(), port).to_socket_addrs().map_err(|_| Refusal::Unresolved)?;
        let found: Vec<SocketAddr> = found.collect();
        match () {
            () if found.is_empty() => Err(Refusal::Unresolved),
            () if anywhere || found.iter().all(|address| is_public(address.ip())) => Ok(found),
            () => Err(Refusal::Private),
        }
    }
}

/// In the spelling in which hosts are compared.
fn normal(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Host and port of an authority; an IPv6 address stands in brackets.
pub(super) fn split(authority: &str) -> Option<(&str, Option<u16>)> {
    let end_of_host = authority.find(']').map_or(0, |at| at + 1);
    match authority.get(end_of_host..)?.find(':') {
        Some(at) => {
            let (host, port) = authority.split_at(end_of_host + at);
            Some((host, Some(port[1..].parse().ok()?)))
        }
        None => Some((authority, None)),
    }
}

/// Whether an address belongs to the public internet; by the registries of special purposes of IANA.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_public_v4(v4),
            None => is_public_v6(v6),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b, c) {
        (0 | 10 | 127, _, _) | (224.., _, _) => true, // this network, private, loopback, multicast and reserved
        (100, 64..=127, _) => true,                   // behind a carrier's NAT
        (169, 254, _) | (172, 16..=31, _) | (192, 168, _) => true, // link-local and private
        (192, 0, 0 | 2) | (192, 88, 99) => true,      // protocols, documentation, relays
        (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113) => true, // benchmarks, documentation
        _ => false,
    };
    !special
}

/// Only what is handed out as global unicast, without the ranges in it that lead elsewhere or nowhere.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let special = match (a, b) {
        (0x2001, 0..=0x01ff) => true, // protocols, Teredo
        (0x2001, 0x0db8) => true,     // documentation
        (0x2002, _) => true,          // an IPv4 address within
        (0x3fff, 0..=0x0fff) => true, // documentation
        _ => false,
    };
    (0x2000..=0x3fff).contains(&a) && !special
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hosts(public: &[&str], private: &[&str]) -> Hosts {
        let owned = |hosts: &[&str]| hosts.iter().map(|&host| host.to_owned()).collect::<Vec<_>>();
        Hosts::new(&owned(public), &owned(private)).expect("hosts")
    }

    #[test]
    fn only_who_is_named_is_let_in() {
        let hosts =
            hosts(&["example.org", "*.Wiki.test", "odd.test:8443", "[2606:4700::1111]"], &["127.0.0.1:8080"]);
        let table = [
            ("example.org", true),
            ("EXAMPLE.org.", true),
            ("example.org:443", true),
            ("example.org:8080", false),
            ("www.example.org", false),
            ("evilexample.org", false),
            ("example.org.evil.test", false),
            ("en.wiki.test", true),
            ("a.b.wiki.test", true),
            ("wiki.test", false),
            (".wiki.test", false),
            ("evilwiki.test", false),
            ("odd.test:8443", true),
            ("odd.test", false),
            ("[2606:4700::1111]:443", true),
            ("127.0.0.1:8080", true),
            ("127.0.0.1", false),
            ("example.org:", false),
            ("example.org:99999", false),
            ("", false),
        ];
        for (authority, named) in table {
            assert_eq!(hosts.names(authority, 80), named, "{authority}");
        }
        for wrong in ["", "*", "*.", "a b", "a/b", "user@host", "host:port", "[::zz]"] {
            assert!(Hosts::new(&[wrong.to_owned()], &[]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn private_networks_are_refused_however_they_are_spelt() {
        let spelt = [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "017700000001",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[::ffff:10.0.0.1]",
            "[::ffff:127.0.0.1]",
            "[fe80::1]",
            "[fc00::1]",
            "[fd12:3456::1]",
            "[64:ff9b::a00:1]",
            "[2002:a00:1::]",
            "[2001::1]",
            "[ff02::1]",
            "localhost",
        ];
        let named = hosts(&spelt, &[]);
        for host in spelt {
            let answer = named.resolve(host, 80);
            assert!(matches!(answer, Err(Refusal::Private | Refusal::Unresolved)), "{host}: {answer:?}");
        }
        for public in ["9.9.9.9", "[2606:4700:4700::1111]", "172.32.0.1", "100.128.0.1", "[::ffff:9.9.9.9]"] {
            assert!(hosts(&[public], &[]).resolve(public, 80).is_ok(), "{public}");
        }
        assert!(hosts(&[], &["127.0.0.1:81"]).resolve("127.0.0.1:81", 80).is_ok());
        assert_eq!(hosts(&["a.test"], &[]).resolve("b.test", 80), Err(Refusal::Host));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_not_named_is_not_let_in(text in "\\PC{0,40}") {
            let nobody = Hosts::default();
            prop_assert!(!nobody.names(&text, 80));
            let _ = Pattern::read(&text);
        }

        #[test]
        fn a_mapped_address_is_judged_as_what_it_maps(bits: u32) {
            let v4 = Ipv4Addr::from(bits);
            prop_assert_eq!(is_public(IpAddr::V4(v4)), is_public(IpAddr::V6(v4.to_ipv6_mapped())));
        }
    }
}
