use proptest::prelude::*;

use super::*;
use crate::config;

fn source(text: &str) -> Source<'_> {
    Source::new("file", text)
}

/// What was written has to be taken by this program.
fn judged(imported: &Imported) -> config::Checked {
    let text = imported.configuration(&["eth0".to_owned()]);
    let checked = config::parse(&text).unwrap_or_else(|problems| panic!("{text}\n{problems:?}"));
    let lines = eam_file::parse(imported.table().as_bytes(), None).unwrap();
    assert_eq!(lines.len(), imported.count());
    assert!(lines.iter().all(|line| checked.config.forbids(&line.pair).is_none()));
    checked
}

fn settings(imported: &Imported) -> Vec<&str> {
    imported.notes.iter().map(|note| note.setting.as_str()).collect()
}

#[test]
fn reads_jools_configuration() {
    let text = r#"{
        "comment": {"any": ["thing"]},
        "instance": "border", "framework": "netfilter",
        "global": {
            "pool6": "2001:db8:6464::/96", "manually-enabled": true, "lowest-ipv6-mtu": 1400, "logging-debug": true,
            "zeroize-traffic-class": true, "override-tos": true, "tos": 184, "mtu-plateaus": [1500, 10, 9000],
            "amend-udp-checksum-zero": true, "eam-hairpin-mode": "simple", "randomize-rfc6791-addresses": true,
            "rfc6791v4-prefix": "192.0.2.192/27", "rfc6791v6-prefix": null, "udp-timeout": "5:00"
        },
        "eamt": [
            {"ipv4 prefix": "198.51.100.1", "ipv6 prefix": "2001:db8:1::1/128", "comment": "www"},
            {"ipv4 prefix": "198.51.100.17/28", "ipv6 prefix": "2001:db8:2::/124"},
            {"ipv4 prefix": "198.51.100.99", "ipv6 prefix": "2001:db8:6464::1"},
            {"ipv4 prefix": "203.0.113.9", "ipv6 prefix": "2001:db8:3::9"}
        ],
        "denylist4": ["203.0.113.0/24"]
    }"#;
    let imported = jool(&[source(text)]).unwrap();
    let config = judged(&imported).config;
    assert_eq!(config.translation.prefixes[0].to_string(), "2001:db8:6464::/96");
    assert_eq!(config.translation.lowest_ipv6_mtu, 1400);
    assert_eq!(
        (config.translation.traffic_class, config.translation.tos),
        (config::Dscp::Fixed(0), config::Dscp::Fixed(184))
    );
    assert_eq!(config.translation.mtu_plateaus, [9000, 1500]);
    assert_eq!(config.translation.hairpin, config::Hairpin::Simple);
    assert_eq!(config.translation.udp_zero_checksum, config::UdpZeroChecksum::Compute);
    assert_eq!(config.translation.scope, config::Scope::Eam, "a deny list of Jool's leaves more alone");
    assert_eq!(config.icmp.ipv4_pool[0].to_string(), "192.0.2.192/27");
    assert!(config.deny.ipv4.is_empty(), "Jool's EAMs win over its deny list, xlat's do not");
    assert_eq!(
        imported.table(),
        "ipv4,ipv6,comment,origin\n198.51.100.1/32,2001:db8:1::1/128,www,dynamic\n\
         198.51.100.16/28,2001:db8:2::/124,,dynamic\n203.0.113.9/32,2001:db8:3::9/128,,dynamic\n"
    );
    let noted = settings(&imported);
    for setting in [
        "instance",
        "framework",
        "logging-debug",
        "mtu-plateaus",
        "randomize-rfc6791-addresses",
        "udp-timeout",
        "eamt entry 2",
        "198.51.100.99 ↔ 2001:db8:6464::1",
        "denylist4",
    ] {
        assert!(noted.contains(&setting), "{setting} is not in {noted:?}");
    }
}

#[test]
fn reads_jools_csv_in_either_order() {
    let text = "IPv6 Prefix,IPv4 Prefix\n64:ff9b::/127,192.0.2.192/31\n192.0.2.1/32,2001:db8:aaaa::/128\n";
    let imported = jool(&[source(text)]).unwrap();
    judged(&imported);
    assert!(
        imported
            .table()
            .ends_with("192.0.2.1/32,2001:db8:aaaa::/128,,dynamic\n192.0.2.192/31,64:ff9b::/127,,dynamic\n")
    );
    assert_eq!(
        jool(&[source("192.0.2.1,2001:db8::1\na,b\n")]).unwrap_err(),
        "file: line 2: an IPv6 and an IPv4 prefix belong here, with a comma between"
    );
}

#[test]
fn says_why_a_comment_is_left_out() {
    let text = r#"{"eamt": [{"ipv4 prefix": "192.0.2.1", "ipv6 prefix": "2001:db8::1", "comment": "a\u202eb"}]}"#;
    let imported = jool(&[source(text)]).unwrap();
    assert!(imported.table().ends_with("192.0.2.1/32,2001:db8::1/128,,dynamic\n"), "{}", imported.table());
    let said = imported.notes[1].to_string();
    assert!(said.starts_with("eamt entry 1: its comment is left out: the comment contains U+202E, "), "{said}");
}

#[test]
fn what_jool_translates_by_the_prefix_alone_is_translated() {
    let imported = jool(&[source(r#"{"instance": "x", "global": {"pool6": "2001:db8:6464::/96"}}"#)]).unwrap();
    assert_eq!(judged(&imported).config.translation.scope, config::Scope::All);
    assert!(settings(&imported).contains(&"pool6"));
}

#[test]
fn reads_the_configuration_of_jool_3_5() {
    let text = r#"{
        "pool6": "2001:db8:6464::/96", "blacklist": ["203.0.113.0/24"], "pool6791": ["192.0.2.192/27", "192.0.2.128/26"],
        "eamt": [{"ipv4 prefix": "198.51.100.1", "ipv6 prefix": "2001:db8:1::1/128"}],
        "global": {"eam-hairpin-mode": 1}
    }"#;
    let imported = jool(&[source(text)]).unwrap();
    let config = judged(&imported).config;
    assert_eq!(config.translation.prefixes[0].to_string(), "2001:db8:6464::/96");
    assert_eq!((config.icmp.ipv4_pool[0].to_string().as_str(), imported.count()), ("192.0.2.128/26", 1));
    let notes: Vec<String> = imported.notes.iter().map(Note::to_string).collect();
    assert!(notes.iter().any(|note| note.starts_with("pool6791: 192.0.2.192/27 is given too")), "{notes:?}");
    assert!(notes.iter().any(|note| note.starts_with("denylist4: no equivalent for 203.0.113.0/24")), "{notes:?}");
    assert!(!notes.iter().any(|note| note.contains("does not know")), "{notes:?}");
    for (pool6, sentence) in [("[\"2001:db8::/96\"]", None), ("null", None), ("7", Some("file: `pool6` is not a list"))]
    {
        let text = format!("{{\"pool6\": {pool6}, \"eamt\": []}}");
        assert_eq!(jool(&[source(&text)]).err().as_deref(), sentence, "{text}");
    }
}

#[test]
fn jools_keys_are_read_in_any_case() {
    let text = r#"{"Global": {"POOL6": "2001:db8:6464::/96", "Lowest-IPv6-MTU": 1400},
        "EAMT": [{"IPv4 Prefix": "192.0.2.1", "IPv6 Prefix": "2001:db8:1::1", "Comment": "WWW"}]}"#;
    let imported = jool(&[source(text)]).unwrap();
    assert_eq!(judged(&imported).config.translation.lowest_ipv6_mtu, 1400);
    assert!(imported.table().ends_with(",WWW,dynamic\n"), "{}", imported.table());
}

#[test]
fn nothing_of_jools_json_is_lost_silently() {
    for text in [
        r#"{"eamt": [], "eamt": []}"#,
        r#"{"eamt": [], "EAMT": []}"#,
        r#"{"global": {"tos": 1, "tos": 2}}"#,
        r#"{"eamt": [{"ipv4 prefix": "192.0.2.1", "ipv4 prefix": "192.0.2.2", "ipv6 prefix": "2001:db8::1"}]}"#,
    ] {
        let said = jool(&[source(text)]).unwrap_err();
        assert!(said.contains("` is there twice: take one out at line 1 "), "{text}: {said}");
    }
    let text = r#"{"comment": {"a": 1, "a": 2}, "comment": 7, "eamt": [
        {"ipv4 prefix": "192.0.2.1", "ipv6 prefix": "2001:db8::1", "comment": 7},
        {"ipv4 prefix": "192.0.2.2", "ipv6 prefix": "2001:db8::2", "comment": "a", "comment": "b", "ports": "1-2"}
    ]}"#;
    let imported = jool(&[source(text)]).unwrap();
    let notes: Vec<String> = imported.notes.iter().map(Note::to_string).collect();
    for note in [
        "eamt entry 1: its comment is left out: it is not one text",
        "eamt entry 2: its comment is left out: it is not one text",
        "eamt entry 2: xlat does not know its `ports`, which is left out",
    ] {
        assert!(notes.iter().any(|there| there == note), "{note} is not in {notes:?}");
    }
    let pools = |v4: &str, v6: &str| {
        format!("{{\"global\": {{\"rfc6791v4-prefix\": \"{v4}\", \"rfc6791v6-prefix\": \"{v6}\"}}}}")
    };
    let (one, other) = (pools("192.0.2.0/27", "2001:db8::/64"), pools("192.0.2.32/27", "2001:db8:1::/64"));
    let imported = jool(&[source(&one), source(&one)]).unwrap();
    assert!(!settings(&imported).contains(&"rfc6791v4-prefix"));
    let imported = jool(&[source(&one), source(&other)]).unwrap();
    for setting in ["rfc6791v4-prefix", "rfc6791v6-prefix"] {
        let note = imported.notes.iter().find(|note| note.setting == setting).expect(setting);
        assert!(note.why.contains(" is given too, and one pool is kept, "), "{note}");
    }
}

#[test]
fn jools_heading_may_come_after_comments() {
    let text = "\n# of relay 1\n\nIPv6 Prefix,IPv4 Prefix\n# www\n2001:db8::1/128,192.0.2.1/32\n";
    assert_eq!(jool(&[source(text)]).unwrap().count(), 1);
    let said = jool(&[source("192.0.2.1,2001:db8::1\nIPv6 Prefix,IPv4 Prefix\n")]).unwrap_err();
    assert!(said.starts_with("file: line 2: an IPv6 and an IPv4 prefix belong here"), "{said}");
}

#[test]
fn what_has_no_translation_prefix_says_so_first() {
    let of_jool = jool(&[source("192.0.2.1,2001:db8::1\n")]).unwrap();
    let of_tayga = tayga(&[source("map 192.0.2.1 2001:db8::1\n")]).unwrap();
    for (imported, setting) in [(of_jool, "pool6"), (of_tayga, "prefix")] {
        judged(&imported);
        let note = imported.notes[0].to_string();
        assert!(
            note.starts_with(&format!("{setting}: none of the files has one: put the translation prefix")),
            "{note}"
        );
    }
}

#[test]
fn refuses_the_stateful_kind() {
    let said = jool(&[source(r#"{"pool4": [], "instance": "x"}"#)]).unwrap_err();
    assert!(said.contains("stateful NAT64"), "{said}");
}

#[test]
fn reads_taygas_configuration_and_map_file() {
    let main = "tun-device nat64\nipv4-addr 192.51.0.0 # own\nipv6-addr 2001:db8:beef:6464::1\nprefix 64:ff9b::/96\n\
        wkpf-strict no\ndynamic-pool 192.168.255.0/24\ndata-dir /var/db/tayga\nmap 192.51.0.1  2001:db8:beef::6b97\n\
        map 192.51.0.64/29 \t2001:db8:beef::420/125\nudp-cksum-mode calc\nofflink-mtu 1480\nmap-file /etc/tayga/map\nstrict-frag-hdr on\nfrob 1\n";
    let more = "map 192.51.0.2 2001:db8:beef::29d2\n";
    let imported = tayga(&[source(main), Source::new("/tmp/map", more)]).unwrap();
    let config = judged(&imported).config;
    assert!(!config.translation.well_known_prefix_strict);
    assert_eq!(config.translation.lowest_ipv6_mtu, 1480);
    assert_eq!(config.translation.udp_zero_checksum, config::UdpZeroChecksum::Compute);
    assert_eq!(config.translation.scope, config::Scope::Eam);
    assert_eq!(imported.count(), 3);
    let noted = settings(&imported);
    for setting in ["tun-device", "ipv4-addr", "ipv6-addr", "dynamic-pool", "data-dir", "prefix", "file:14"] {
        assert!(noted.contains(&setting), "{setting} is not in {noted:?}");
    }
    assert!(!noted.contains(&"map-file"), "the map-file was given");
    let of = |setting: &str| imported.notes.iter().find(|note| note.setting == setting).map(|note| note.why.as_str());
    assert!(of("strict-frag-hdr").is_some_and(|why| why.contains("RFC 7915 section 4")), "{:?}", imported.notes);
    assert_eq!(
        tayga(&[source("\nmap 192.0.2.1 www\n")]).unwrap_err(),
        "file:2: `www` is not an IPv6 address or prefix (examples: 2001:db8::1, 2001:db8::/64)"
    );
}

#[test]
fn taygas_directives_are_read_in_any_case() {
    let imported =
        tayga(&[source("Prefix 2001:db8::/96\nMAP 192.0.2.1 2001:db8:1::1\nPREFIX 2001:db8::/96\n")]).unwrap();
    assert_eq!((judged(&imported).config.translation.prefixes.len(), imported.count()), (1, 1));
    let notes: Vec<String> = imported.notes.iter().map(Note::to_string).collect();
    assert!(notes.iter().any(|note| note.starts_with("file:3: `prefix` is given before")), "{notes:?}");
}

#[test]
fn every_directive_that_is_not_known_is_told_with_its_line() {
    let imported = tayga(&[source("frob 1\nprefix 2001:db8::/96\nfrob 2\n")]).unwrap();
    let noted = settings(&imported);
    assert!(noted.contains(&"file:1") && noted.contains(&"file:3"), "{noted:?}");
}

#[test]
fn map_lines_that_are_left_out_do_not_widen_the_scope() {
    let imported = tayga(&[source("prefix 2001:db8::/96\nmap 127.0.0.1 2001:db8:1::1\n")]).unwrap();
    assert_eq!((judged(&imported).config.translation.scope, imported.count()), (config::Scope::Eam, 0));
}

#[test]
fn what_this_relay_would_refuse_is_left_out() {
    let text = "prefix 2001:db8:6464::/96\nmap 192.0.2.1 2001:db8:6464::1\nmap 198.51.100.0/24 2001:db8::/32\nmap 192.0.2.2 2001:db8:1::2\n";
    let imported = tayga(&[source(text)]).unwrap();
    assert_eq!(imported.count(), 1);
    let told: Vec<&str> =
        imported.notes.iter().map(|note| note.why.as_str()).filter(|why| why.starts_with("left out")).collect();
    assert!(
        told.len() == 2 && told[0].contains("lies inside the translation prefix") && told[1].contains("covers"),
        "{told:?}"
    );
}

#[test]
fn a_directive_that_is_there_twice_gives_a_valid_configuration() {
    let imported =
        tayga(&[source("wkpf-strict yes\nwkpf-strict no\nprefix 2001:db8::/96\nprefix 2001:db8::/96\n")]).unwrap();
    assert!(!judged(&imported).config.translation.well_known_prefix_strict);
    assert!(settings(&imported).contains(&"well_known_prefix_strict"));
}

#[test]
fn what_tayga_would_refuse_is_told_with_its_line() {
    let text = "prefix 2001:db8::/96\nipv4-addr 192.0.2.1\nipv6-addr 2001:db8:1::1\nwkpf-strict maybe\n\
        udp-cksum-mode guess\nprefix 2001:db8:2::/96\nipv4-addr 192.0.2.2\nipv6-addr 2001:db8:1::2\n";
    let imported = tayga(&[source(text)]).unwrap();
    let config = judged(&imported).config;
    assert_eq!(config.translation.prefixes.len(), 2);
    assert_eq!(config.icmp.ipv4_pool[0].to_string(), "192.0.2.2/32");
    let notes: Vec<String> = imported.notes.iter().map(Note::to_string).collect();
    for note in [
        "file:4: wkpf-strict: `maybe` is neither yes nor no",
        "file:5: udp-cksum-mode: `guess` is not",
        "file:6: `prefix` is given before",
        "file:7: `ipv4-addr` is given before, and TAYGA takes it once: the last address stands",
        "file:8: `ipv6-addr` is given before",
    ] {
        assert!(notes.iter().any(|there| there.starts_with(note)), "{note} is not in {notes:#?}");
    }
    for (text, sentence) in [
        ("\nprefix 2001:db8::/96 junk here", "file:2: `prefix` takes one value: take `junk here` out"),
        ("wkpf-strict no no", "file:1: `wkpf-strict` takes one value: take `no` out"),
        ("\nprefix www", "file:2: prefix: `www` is not an IPv6 address or prefix"),
    ] {
        let said = tayga(&[source(text)]).unwrap_err();
        assert!(said.starts_with(sentence), "{text}: {said}");
    }
}

#[test]
fn reads_taygas_words_for_yes_and_no() {
    for (word, strict) in [("Off", false), ("0", false), ("false", false), ("ON", true), ("1", true)] {
        let imported = tayga(&[source(&format!("prefix 64:ff9b::/96\nwkpf-strict {word}\n"))]).unwrap();
        assert_eq!(judged(&imported).config.translation.well_known_prefix_strict, strict, "{word}");
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_file() {
    let json = "\u{feff}{\"global\": {\"pool6\": \"2001:db8::/96\"}}";
    let csv = "\u{feff}IPv4 Prefix,IPv6 Prefix\n192.0.2.1/32,2001:db8:1::1/128\n";
    let bare = "\u{feff}192.0.2.2,2001:db8:1::2\n";
    let imported = jool(&[source(json), source(csv), source(bare)]).unwrap();
    assert_eq!((judged(&imported).config.translation.prefixes.len(), imported.count()), (1, 2));
    let imported = tayga(&[source("\u{feff}prefix 2001:db8::/96\n")]).unwrap();
    assert_eq!(judged(&imported).config.translation.prefixes.len(), 1);
    assert!(!settings(&imported).iter().any(|setting| setting.contains('\u{feff}')));
}

#[test]
fn a_file_of_another_kind_is_refused() {
    let json = "{\n  \"global\": {\n    \"pool6\": \"2001:db8::/96\"\n  }\n}\n";
    let big: String = (0..=255).map(|host| format!("192.0.2.{host},2001:db8::{host:x},www\n")).collect();
    const JOOLS: &str = "file: Jool's JSON configuration or the CSV of its EAM table belongs here, and this looks like";
    const TAYGAS: &str = "file: TAYGA's configuration or its map-file belongs here, and this looks like";
    for (text, sentence) in [
        (json, "JSON, as Jool's configuration is: use `xlat-ctl import jool`"),
        ("{\"entries\": []}", "JSON of xlat: use `xlat-ctl eam apply`"),
        (
            &big,
            "a table of addresses: use `xlat-ctl import jool` for one of Jool, `xlat-ctl eam apply` for one of xlat",
        ),
        ("IPv4 Prefix,IPv6 Prefix\n", "a table of addresses: use `xlat-ctl import jool` for one of Jool"),
        ("[[eam]]\nipv4 = \"192.0.2.1\"\n", "TOML of xlat: use `xlat-ctl eam apply`"),
        (
            "[dataplane]\n[[eam]]\nipv4 = \"192.0.2.1\"\n",
            "xlat's configuration: copy its [[eam]] tables into a file of their own and give that to `xlat-ctl eam apply`",
        ),
        ("[dataplane]\n[translation]\n", "xlat's configuration, which the daemon takes as it is"),
    ] {
        let said = tayga(&[source(text)]).unwrap_err();
        assert!(said.starts_with(&format!("{TAYGAS} {sentence}")), "{text}: {said}");
    }
    for (text, sentence) in [
        ("# main\nTUN-device nat64\nprefix 2001:db8::/96\n", "TAYGA's configuration: use `xlat-ctl import tayga`"),
        ("{\"entries\": []}", "JSON of xlat: use `xlat-ctl eam apply`"),
        (
            "ipv4,ipv6,comment,origin\n",
            "a table of addresses that is not Jool's: use `xlat-ctl eam apply` for one of xlat",
        ),
        ("[dataplane]\n[[eam]]\nipv4 = \"192.0.2.1\"\n", "xlat's configuration: copy its [[eam]] tables"),
    ] {
        let said = jool(&[source(text)]).unwrap_err();
        assert!(said.starts_with(&format!("{JOOLS} {sentence}")), "{text}: {said}");
        assert!(!said.contains("import jool"), "{text}: {said}");
    }
    let said = jool(&[source("{\"frob\": 1}")]).unwrap_err();
    assert!(said.starts_with("file: nothing in it is known: Jool's"), "{said}");
    for text in ["", "\u{feff}", "# nothing\n\n"] {
        let said = tayga(&[source(text)]).unwrap_err();
        assert_eq!(said, "file: the file is empty: TAYGA's configuration or its map-file belongs here");
        assert!(jool(&[source(text)]).unwrap_err().starts_with("file: the file is empty: Jool's"), "{text}");
    }
    let good = source("prefix 2001:db8::/96\n");
    assert!(tayga(&[good, source("frob 1\n")]).unwrap_err().starts_with("file: nothing in it is known: "));
    assert!(jool(&[source("{}")]).is_err());
    // Of a table without entries Jool prints the heading.
    assert_eq!(jool(&[source("IPv6 Prefix,IPv4 Prefix\n")]).unwrap().count(), 0);
}

#[test]
fn a_note_repeats_a_long_value_in_part() {
    let long = "x".repeat(5000);
    let json = format!(
        "{{\"{long}\": 1, \"global\": {{\"pool6\": \"2001:db8::/96\", \"eam-hairpin-mode\": \"{long}\", \"lowest-ipv6-mtu\": \"{long}\", \
         \"{long}\": \"{long}\"}}, \"eamt\": [{{\"ipv4 prefix\": \"192.0.2.1\", \"ipv6 prefix\": \"2001:db8:1::1\", \"{long}\": 1}}]}}"
    );
    let conf = format!("prefix 2001:db8::/96\nmap-file {long}\nwkpf-strict {long}\n{long} 1\n");
    for imported in [jool(&[source(&json)]).unwrap(), tayga(&[source(&conf)]).unwrap()] {
        assert!(imported.notes.len() > 3 && imported.notes.iter().all(|note| note.to_string().chars().count() < 400));
    }
}

#[test]
fn nothing_is_left_out_without_a_word() {
    let text: String = (0..700).map(|number| format!("frob{number} 1\n")).collect();
    let imported = tayga(&[source(&format!("{text}prefix 2001:db8::/96\n"))]).unwrap();
    judged(&imported);
    assert_eq!(imported.notes[0].setting, "prefix");
    assert_eq!(imported.notes.len(), 701);
    // The CSV of the same table: what is there already is no loss, what differs is.
    let json = "{\"global\": {\"pool6\": \"64:ff9b::/96\"}, \"eamt\": [{\"ipv4 prefix\": \"192.0.2.1\", \"ipv6 prefix\": \"2001:db8::1\"}]}";
    let csv = "IPv6 Prefix,IPv4 Prefix\n2001:db8::1/128,192.0.2.1/32,\n2001:db8::2/128,192.0.2.1/32\n::ffff:192.0.2.7/128,192.0.2.7/32\n";
    let imported = jool(&[source(json), source(csv)]).unwrap();
    let all = imported.notes.iter().map(Note::to_string);
    let notes: Vec<String> = all.filter(|note| note.contains("left out: ")).collect();
    assert_eq!((imported.count(), notes.len()), (1, 2), "{notes:?}");
    assert!(notes[0].starts_with("192.0.2.1 ↔ 2001:db8::2: left out: "), "{notes:?}");
    assert!(notes[1].contains("IPv4-mapped"), "{notes:?}");
}

proptest! {
    #[test]
    fn no_text_makes_the_importers_panic_or_write_nonsense(
        words in proptest::collection::vec(
            "(map|prefix|ipv4-addr|wkpf-strict|map-file|log|offlink-mtu|udp-cksum-mode|# x|192\\.0\\.2\\.[0-9]{1,3}(/[0-9]{1,2})?|2001:db8::[0-9a-f]{0,4}(/[0-9]{1,3})?|[ -~\\t]{0,6}| |\n){0,3}", 0..40),
    ) {
        let text = words.join(" ");
        for read in [jool, tayga] {
            if let Ok(imported) = read(&[source(&text)]) {
                let lines = eam_file::parse(imported.table().as_bytes(), None).unwrap();
                prop_assert_eq!(lines.len(), imported.count());
                let configuration = imported.configuration(&["eth0".to_owned()]);
                if let Err(problems) = config::parse(&configuration) {
                    // Values that this relay does not allow are told with their line; the file is TOML in any case.
                    prop_assert!(problems.iter().all(|problem| problem.line.is_some()), "{configuration}\n{problems:?}");
                    prop_assert!(configuration.parse::<toml::Table>().is_ok(), "{}", configuration);
                }
            }
        }
    }

    #[test]
    fn no_json_makes_the_jool_importer_panic(
        key in "pool6|eamt|global|denylist4|comment|tos|mtu-plateaus|eam-hairpin-mode|rfc6791v4-prefix|lowest-ipv6-mtu",
        value in r#"null|true|-1|1e9|""|"192\.0\.2\.1/24"|"2001:db8::/96"|\[\]|\[1,"x"\]|\[\{"ipv4 prefix":"192\.0\.2\.1"\}\]|\{\}"#,
    ) {
        for text in [format!("{{\"{key}\": {value}}}"), format!("{{\"global\": {{\"{key}\": {value}}}}}")] {
            let _ = jool(&[source(&text)]);
        }
    }
}
