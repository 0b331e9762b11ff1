use std::{
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use proptest::prelude::*;

use super::*;
use crate::{
    config::{self, Config},
    daemon::lookup::Rules,
    eam,
};

const CONFIG: &str = r#"
    [dataplane]
    interfaces = ["eth0"]
    [translation]
    prefixes = ["2001:db8:6464::/96", "2001:db8:32::/64", "2001:db8:5600::/56", "2001:db8:4848::/48", "2001:db8:4000::/40",
                "2001:dead::/32", "64:ff9b::/96"]
    [[eam]]
    ipv4 = "198.51.100.0/28"
    ipv6 = "2001:db8:5e1::/124"
    [[eam]]
    ipv4 = "198.51.100.10"
    ipv6 = "2001:db8:5e1:1::10"
    [deny]
    ipv4 = ["203.0.113.66"]
"#;

fn configured() -> Config {
    config::parse(CONFIG).unwrap().config
}

fn annotator(direction: Direction, keep: bool) -> Annotator {
    let config = configured();
    let pairs: Vec<_> = config.eams.iter().map(|entry| entry.pair).collect();
    Annotator::new(Mapper::new(config, pairs.into_iter()), direction, keep)
}

fn annotated(annotator: &Annotator, text: &str) -> String {
    let mut out = Vec::new();
    annotator.annotate(text.as_bytes(), &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn replaces_addresses_in_every_spelling() {
    let annotator = annotator(Direction::ToIpv4, false);
    for (text, expected) in [
        ("2001:db8:6464::cb00:7107 - - [25/Nov/2026:01:02:03 +0000]", "203.0.113.7 - - [25/Nov/2026:01:02:03 +0000]"),
        ("2001:db8:6464::203.0.113.7", "203.0.113.7"),
        ("2001:DB8:6464::CB00:7107", "203.0.113.7"),
        ("2001:0db8:6464:0000:0000:0000:cb00:7107", "203.0.113.7"),
        ("[2001:db8:6464::cb00:7107]:443", "203.0.113.7:443"),
        ("http://[2001:db8:6464::cb00:7107]/x", "http://203.0.113.7/x"),
        ("[client 2001:db8:6464::cb00:7107:51234]", "[client 203.0.113.7:51234]"),
        ("2001:db8:6464::cb00:7107:5123 [", "203.0.113.7:5123 ["),
        ("2001:db8:6464:0:0:0:cb00:7107:5123", "203.0.113.7:5123"),
        ("2001:db8:6464::cb00:7107%eth0.7.", "203.0.113.7."),
        ("connect from unknown[2001:db8:6464::cb00:7107]:25", "connect from unknown[203.0.113.7]:25"),
        ("from [IPv6:2001:db8:6464::cb00:7107] (x", "from [203.0.113.7] (x"),
        (
            "IP6 2001:db8:6464::cb00:7107.51234 > 2001:db8:5e1:1::10.80: Flags",
            "IP6 203.0.113.7.51234 > 198.51.100.10.80: Flags",
        ),
        ("client:2001:db8:6464::cb00:7107:gone", "client:203.0.113.7:gone"),
        ("x=2001:db8:6464::cb00:7107, y=\"2001:db8:5e1::3\"", "x=203.0.113.7, y=\"198.51.100.3\""),
        ("2001:db8:6464::cb00:7107-2001:db8:6464::cb00:7108", "203.0.113.7-203.0.113.8"),
        ("„2001:db8:6464::cb00:7107“", "„203.0.113.7“"),
        ("64:ff9b::808:808", "8.8.8.8"),
        ("GET /?ip=64:ff9b::808:808%20union.select HTTP/1.1", "GET /?ip=8.8.8.8%20union.select HTTP/1.1"),
        ("http://[2001:db8:6464::cb00:7107%25eth0]/x", "http://203.0.113.7/x"),
        ("access.log.1:2001:db8:6464::cb00:7107 -", "access.log.1:203.0.113.7 -"),
        ("\"client\":2001:db8:6464::cb00:7107", "\"client\":203.0.113.7"),
    ] {
        assert_eq!(annotated(&annotator, text), expected, "{text}");
        assert_eq!(annotated(&annotator, &format!("{text} {text}\n")), format!("{expected} {expected}\n"));
    }
}

/// `grep -n` puts the line's number before it. What may be a part of an address is none.
#[test]
fn a_number_at_the_beginning_of_a_line_is_no_part_of_an_address() {
    let annotator = annotator(Direction::ToIpv4, false);
    let text = "12:2001:db8:6464::cb00:7107 a\n7:2001:db8:6464::cb00:7107 b\n2002:2001:db8:6464::cb00:7107 c\n";
    let expected = "12:203.0.113.7 a\n7:203.0.113.7 b\n2002:2001:db8:6464::cb00:7107 c\n";
    assert_eq!(annotated(&annotator, text), expected);
}

/// `grep -n` over several files puts their names before it.
#[test]
fn a_files_name_and_a_number_are_no_part_of_an_address() {
    let annotator = annotator(Direction::ToIpv4, false);
    for before in [
        "access.log:12:",
        "access.log.1:7:",
        "/var/log/mail:3:",
        "access_log-20261125:120:",
        "a.b:1:",
        "x access.log:12:",
    ] {
        let expected = format!("{before}203.0.113.7 a\n");
        assert_eq!(annotated(&annotator, &format!("{before}2001:db8:6464::cb00:7107 a\n")), expected);
    }
    for text in
        ["13:55:36:2001:db8:6464::cb00:7107", "f:12:2001:db8:6464::cb00:7107", "a.log:2002:2001:db8:6464::cb00:7107"]
    {
        assert_eq!(annotated(&annotator, text), text);
    }
}

#[test]
fn finds_addresses_in_colours() {
    let (to_ipv4, to_ipv6) = (annotator(Direction::ToIpv4, false), annotator(Direction::ToIpv6, false));
    let (ipv4, ipv6) = ("203.0.113.7", "2001:db8:6464::cb00:7107");
    for (before, after) in [
        ("\u{1b}[01;31m\u{1b}[K", "\u{1b}[m\u{1b}[K - -"),
        ("\u{1b}[32m\u{1b}[K12\u{1b}[m\u{1b}[K\u{1b}[36m\u{1b}[K:\u{1b}[m\u{1b}[K", " x"),
        ("\u{1b}[m", "\u{1b}[0m"),
    ] {
        assert_eq!(annotated(&to_ipv4, &format!("{before}{ipv6}{after}")), format!("{before}{ipv4}{after}"));
        assert_eq!(annotated(&to_ipv6, &format!("{before}{ipv4}{after}")), format!("{before}{ipv6}{after}"));
    }
    for text in ["[31m2001:db8:6464::cb00:7107", "m2001:db8:6464::cb00:7107", "\u{1b}[3x1m2001:db8:6464::cb00:7107"] {
        assert_eq!(annotated(&to_ipv4, text), text);
    }
}

#[test]
fn reads_every_prefix_length() {
    let annotator = annotator(Direction::ToIpv4, false);
    for address in [
        "2001:db8:6464::cb00:7107",
        "2001:db8:32:0:cb:71:700::",
        "2001:db8:32:0:cb:71:700:0",
        "2001:db8:5600:cb:0:7107::",
        "2001:db8:4848:cb00:71:700::",
        "2001:db8:40cb:71:7::",
        "2001:dead:cb00:7107::",
    ] {
        assert_eq!(annotated(&annotator, address), "203.0.113.7", "{address}");
        assert_eq!(annotated(&annotator, &format!("{address}:443 ")), "203.0.113.7:443 ", "{address}");
        assert_eq!(annotated(&annotator, &format!("{address}.443 ")), "203.0.113.7.443 ", "{address}");
    }
}

#[test]
fn leaves_all_other_text_alone() {
    for text in [
        "13:55:36 02:42:ac:11:00:02 00:11:22:33:44:55:66:77 a::b ::1 :: ::ffff:203.0.113.7 2001:db8:ffff::1",
        "2001:db8:6464::/96 2001:db8:6464::cb00:7100/120 2001:db8:6464::cb00:7107/128",
        "x2001:db8:6464::cb00:7107 2001:db8:6464::cb00:7107x f:2001:db8:6464::cb00:7107 a.2001:db8:6464::cb00:7107",
        "12001:db8:6464::cb00:7107 2001:db8:6464::cb00:7107:99999 2001:db8:6464::cb00:71070",
        "2001:db8:6464::7f00:1 2001:db8:6464::cb00:7142 64:ff9b::a00:1 fe80::1 ff02::1",
        "std::vec::Vec a::b::c::d :::: 2001: 2001:db8:6464",
    ] {
        for keep in [false, true] {
            assert_eq!(annotated(&annotator(Direction::ToIpv4, keep), text), text);
        }
    }
    for text in [
        "Chrome/120.0.0.0 1.2.3 1.2.3.4.5.6 10.0.0.0/8 192.0.2.256 192.0.2.01 x192.0.2.1 192.0.2.1x 192.0.2.1.example.com",
        "7.113.0.203.in-addr.arpa ::ffff:203.0.113.7 2001:db8:6464::203.0.113.7 127.0.0.1 0.0.0.0 203.0.113.66 255.255.255.255",
        "... 1.2.3.4_ a.1.2.3.4",
    ] {
        assert_eq!(annotated(&annotator(Direction::ToIpv6, false), text), text);
    }
}

#[test]
fn goes_back_to_what_servers_see() {
    let annotator = annotator(Direction::ToIpv6, false);
    for (text, expected) in [
        ("203.0.113.7 - -", "2001:db8:6464::cb00:7107 - -"),
        ("203.0.113.7:443", "[2001:db8:6464::cb00:7107]:443"),
        ("unknown[203.0.113.7]:25", "unknown[2001:db8:6464::cb00:7107]:25"),
        ("http://203.0.113.7/x", "http://[2001:db8:6464::cb00:7107]/x"),
        (
            "IP 203.0.113.7.51234 > 198.51.100.10.80: Flags",
            "IP 2001:db8:6464::cb00:7107.51234 > 2001:db8:5e1:1::10.80: Flags",
        ),
        ("from 198.51.100.3.", "from 2001:db8:5e1::3."),
        ("src:203.0.113.7,", "src:2001:db8:6464::cb00:7107,"),
    ] {
        assert_eq!(annotated(&annotator, text), expected);
    }
}

#[test]
fn keeps_the_address_where_that_is_asked() {
    let text = "[2001:db8:6464::cb00:7107]:443 203.0.113.7:1";
    assert_eq!(
        annotated(&annotator(Direction::ToIpv4, true), text),
        "[2001:db8:6464::cb00:7107[203.0.113.7]]:443 203.0.113.7:1"
    );
    assert_eq!(
        annotated(&annotator(Direction::ToIpv6, true), text),
        "[2001:db8:6464::cb00:7107]:443 203.0.113.7[2001:db8:6464::cb00:7107]:1"
    );
}

/// A reader that gives its bytes in the pieces that it is told to.
struct Pieces<'bytes>(&'bytes [u8], Vec<usize>);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.1.pop().unwrap_or(usize::MAX).max(1);
        let len = most.min(buffer.len()).min(self.0.len());
        buffer[..len].copy_from_slice(&self.0[..len]);
        self.0 = &self.0[len..];
        Ok(len)
    }
}

fn copied(text: &[u8], pieces: Vec<usize>, annotator: &mut Annotator) -> Vec<u8> {
    let mut out = Vec::new();
    copy(Pieces(text, pieces), &mut out, annotator, |_| ()).unwrap();
    out
}

#[test]
fn a_line_without_end_is_looked_at_in_pieces() {
    let mut annotator = annotator(Direction::ToIpv4, false);
    let text = "2001:db8:6464::cb00:7107 and ".repeat(40_000);
    assert!(text.len() > 1_000_000);
    assert_eq!(copied(text.as_bytes(), Vec::new(), &mut annotator), "203.0.113.7 and ".repeat(40_000).as_bytes());
    let text = "a".repeat(1_000_000);
    assert_eq!(copied(text.as_bytes(), Vec::new(), &mut annotator), text.as_bytes());
}

/// What a log may hold around an address.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(
        prop_oneof![
            Just(b"2001:db8:6464::cb00:7107".to_vec()),
            Just(b"2001:db8:5e1::3".to_vec()),
            Just(b"203.0.113.7".to_vec()),
            Just(b"\n".to_vec()),
            prop::collection::vec(prop::sample::select(b"0a:.[]%/ -g\xff\xc3".as_slice()), 0..6),
            prop::collection::vec(any::<u8>(), 0..6),
        ],
        0..12,
    )
    .prop_map(|parts| parts.concat())
}

/// The length of the address in brackets that the bytes begin with; 0: there is none.
fn bracketed_address(bytes: &[u8]) -> usize {
    let Some(close) = bytes.iter().position(|byte| *byte == b']').filter(|_| bytes[0] == b'[') else { return 0 };
    let is_address = str::from_utf8(&bytes[1..close]).is_ok_and(|text| text.parse::<IpAddr>().is_ok());
    if is_address { close + 1 } else { 0 }
}

proptest! {
    #[test]
    fn what_it_becomes_is_what_a_look_up_says(client: u32, service in 0_u32..40, which in 0_usize..8, bits: u128) {
        let config = configured();
        let mut table = eam::Table::default();
        config.eams.iter().for_each(|entry| table.insert(entry.clone()).unwrap());
        let rules = Rules { config: &config, table: &table, own: &|_| None };
        let mapper = Mapper::new(configured(), config.eams.iter().map(|entry| entry.pair));
        let six: Option<u128> = config.translation.prefixes.get(which).map(|prefix| prefix.network().to_bits() | bits >> prefix.prefix_len());
        let service6 = 0x2001_0db8_05e1_u128 << 80 | u128::from(service);
        for ipv6 in [bits, service6, six.unwrap_or(bits)] {
            let ours = mapper.to_ipv4(ipv6).map(|ipv4| IpAddr::V4(Ipv4Addr::from_bits(ipv4)));
            prop_assert_eq!(ours, rules.look_up(Ipv6Addr::from_bits(ipv6).into()).result);
        }
        for ipv4 in [client, 0xc633_6400 | service, 0xcb00_7140 | (service & 7)] {
            let ours = mapper.to_ipv6(ipv4).map(|ipv6| IpAddr::V6(Ipv6Addr::from_bits(ipv6)));
            prop_assert_eq!(ours, rules.look_up(Ipv4Addr::from_bits(ipv4).into()).result);
        }
    }

    #[test]
    fn pieces_make_no_difference_and_text_is_kept(text in noise(), pieces in prop::collection::vec(1_usize..20, 0..20)) {
        for direction in [Direction::ToIpv4, Direction::ToIpv6] {
            let mut annotator = annotator(direction, true);
            let whole = copied(&text, Vec::new(), &mut annotator);
            prop_assert_eq!(&copied(&text, pieces.clone(), &mut annotator), &whole);
            // Without the addresses in brackets that were put in, it is the text that came.
            let (mut left, mut rest) = (Vec::new(), &whole[..]);
            while left.len() < text.len() || !rest.is_empty() {
                let put_in = bracketed_address(rest);
                if put_in > 0 && !text[left.len()..].starts_with(&rest[..put_in]) {
                    rest = &rest[put_in..];
                } else {
                    prop_assert!(!rest.is_empty(), "bytes are missing");
                    left.push(rest[0]);
                    rest = &rest[1..];
                }
                prop_assert!(text.starts_with(&left));
            }
        }
    }
}
