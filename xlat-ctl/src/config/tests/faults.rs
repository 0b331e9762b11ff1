//! What is wrong or doubtful in a configuration, as it is told.

use super::*;

#[test]
fn faults_are_told_in_one_sentence_with_line_key_and_cure() {
    let rows: &[(&str, &str)] = &[
        // Reading
        ("[dataplane", "line 1: unclosed table, expected `]`"),
        (
            "[dataplan]\ninterfaces = [\"eth0\"]",
            "line 1: unknown section `dataplan` (did you mean `dataplane`?); allowed here: dataplane, translation, \
             prefix_for, eam, icmp, deny, state, control, metrics, accounting",
        ),
        (
            "[dataplane]\n# the ports\nintefaces = [\"eth0\"]",
            "line 3: unknown key `intefaces` in [dataplane] (did you mean `interfaces`?); \
             allowed here: interfaces, xdp_mode, max_eams, pin_directory, on_stop, on_restart",
        ),
        (
            "[control]\nsocket = \"/run/x\"\nmode = \"0600\"",
            "line 3: unknown key `mode` in [control]; allowed here: socket, group",
        ),
        (
            "[[eam]]\nipv4 = \"192.0.2.1\"\nip6 = \"2001:db8::1\"",
            "line 3: unknown key `ip6` in [[eam]] (did you mean `ipv6`?); allowed here: ipv4, ipv6, comment",
        ),
        (
            "[dataplane]\ninterfaces = \"eth0\"",
            "line 2: `interfaces` in [dataplane]: the text \"eth0\" stands where a list in square brackets belongs",
        ),
        (
            "[dataplane]\nmax_eams = \"many\"",
            "line 2: `max_eams` in [dataplane]: the text \"many\" stands where a whole number belongs",
        ),
        (
            "[translation]\nstrict = 1",
            "line 2: `strict` in [translation]: the number `1` stands where true or false belongs",
        ),
        (
            "[translation]\ntos = true",
            "line 2: `tos` in [translation]: the value `true` stands where a word in quotation marks or a whole number belongs",
        ),
        // [dataplane]
        ("", "dataplane.interfaces: name at least one interface, such as interfaces = [\"eth0\"]"),
        (
            "[dataplane]\ninterfaces = []",
            "line 2: dataplane.interfaces: name at least one interface, such as interfaces = [\"eth0\"]",
        ),
        (
            "[dataplane]\ninterfaces = [\"a-very-long-name\"]",
            "line 2: dataplane.interfaces: `a-very-long-name` cannot be an interface's name: it is longer than 15 bytes",
        ),
        (
            "[dataplane]\ninterfaces = [\"eth 0\"]",
            "line 2: dataplane.interfaces: `eth 0` cannot be an interface's name: it contains a slash or white space",
        ),
        (
            "[dataplane]\ninterfaces = [\"eth[0\"]",
            "line 2: dataplane.interfaces: `eth[0`: unclosed character class; missing ']'",
        ),
        ("[dataplane]\ninterfaces = [\"a\", \"a\"]", "line 2: dataplane.interfaces: a is there twice"),
        (
            "[dataplane]\ninterfaces = [\"a\"]\nxdp_mode = \"nativ\"",
            "line 3: dataplane.xdp_mode = \"nativ\" (did you mean \"native\"?): give one of \"auto\", \"native\", \"generic\"",
        ),
        (
            "[dataplane]\ninterfaces = [\"a\"]\nmax_eams = 0",
            "line 3: dataplane.max_eams = 0: give a number from 1 to 4194304",
        ),
        (
            "[dataplane]\ninterfaces = [\"a\"]\n[accounting]\nnative = true",
            "line 4: accounting.native = true counts for the accounts of accounting.services: set that to true, too",
        ),
    ];
    for (text, sentence) in rows {
        let problems = parse(text).expect_err(text);
        assert_eq!(sentences(&problems), [*sentence], "{text}");
    }
}

#[test]
fn faults_beside_a_valid_beginning_are_told_in_one_sentence() {
    // The beginning has four lines.
    let rows: &[(&str, &str)] = &[
        (
            "lowest_ipv6_mtu = 1279",
            "line 5: translation.lowest_ipv6_mtu = 1279: give a number from 1280 to 65535 \
             (no IPv6 link has less than 1280: RFC 8200 section 5)",
        ),
        ("hairpin = \"on\"", "line 5: translation.hairpin = \"on\": give one of \"intrinsic\", \"simple\", \"off\""),
        (
            "udp_zero_checksum = \"forward\"",
            "line 5: translation.udp_zero_checksum = \"forward\": give one of \"drop\", \"compute\"",
        ),
        (
            "traffic_class = 256",
            "line 5: translation.traffic_class = 256: give \"copy\", \"zero\" or a number from 0 to 255",
        ),
        ("tos = \"low\"", "line 5: translation.tos = \"low\": give \"copy\", \"zero\" or a number from 0 to 255"),
        ("flow_label = \"copy\"", "line 5: translation.flow_label = \"copy\": give one of \"zero\", \"hash\""),
        ("scope = \"any\"", "line 5: translation.scope = \"any\": give one of \"eam\", \"all\""),
        ("mtu_plateaus = []", "line 5: translation.mtu_plateaus: give at least one MTU"),
        (
            "mtu_plateaus = [1500, 67]",
            "line 5: translation.mtu_plateaus: 67 is not an IPv4 MTU; give numbers from 68 to 65535",
        ),
        (
            "mtu_plateaus = [\n  576,\n  1500,\n]",
            "line 7: translation.mtu_plateaus: 1500 stands after 576; give the greatest first",
        ),
        (
            "[[eam]]\nipv4 = \"192.0.2.1/24\"\nipv6 = \"2001:db8::/64\"",
            "line 6: eam.ipv4: `192.0.2.1/24` has host bits set: write 192.0.2.0/24 for the whole prefix, or 192.0.2.1 \
             for the one address",
        ),
        ("[[eam]]\nipv4 = \"192.0.2.1\"", "line 5: eam.ipv6 is missing"),
        (
            "[[eam]]\nipv4 = \"192.0.2.0/24\"\nipv6 = \"2001:db8::/124\"",
            "line 5: eam: IPv4 prefix 192.0.2.0/24 has 8 suffix bits, but IPv6 prefix 2001:db8::/124 leaves room for 4: \
             give an IPv6 prefix of /120 or shorter, or an IPv4 prefix of /28 or longer",
        ),
        (
            "[[eam]]\nipv4 = \"224.0.0.1\"\nipv6 = \"2001:db8::1\"",
            "line 5: eam: 224.0.0.1 is multicast (224.0.0.0/4): no packet may come from or go to it",
        ),
        (
            "[[eam]]\nipv4 = \"192.0.2.1\"\nipv6 = \"2001:db8::1\"\n[[eam]]\nipv4 = \"192.0.2.1\"\nipv6 = \"2001:db8::2\"",
            "line 8: eam 192.0.2.1 ↔ 2001:db8::2: another entry has the IPv4 prefix 192.0.2.1: 192.0.2.1 ↔ 2001:db8::1",
        ),
        (
            "[[prefix_for]]\nprefix = \"2001:db8:7777::/96\"\ninterfaces = [\"eth1\"]",
            "line 6: prefix_for.prefix: 2001:db8:7777::/96 is none of translation.prefixes",
        ),
        (
            "[[prefix_for]]\nprefix = \"2001:db8:6464::/96\"",
            "line 5: prefix_for: say for what: interfaces = […], ipv4 = […], or both",
        ),
        (
            "[[prefix_for]]\nprefix = \"2001:db8:6464::/96\"\ninterfaces = []",
            "line 5: prefix_for: say for what: interfaces = […], ipv4 = […], or both",
        ),
        (
            "[icmp]\nrate = 0",
            "line 6: icmp.rate = 0: give a number from 1 to 1000000 (for none at all: errors = \"off\")",
        ),
        (
            "[icmp]\nerrors = \"limited\"",
            "line 6: icmp.errors = \"limited\": give one of \"on\", \"rate-limited\", \"off\"",
        ),
        (
            "[icmp]\nipv4_pool = [\"127.0.0.0/30\"]",
            "line 6: icmp.ipv4_pool: 127.0.0.0/30 is loopback (127.0.0.0/8) and cannot be a source",
        ),
        (
            "[icmp]\nipv4_pool = [\"203.0.113.0/24\", \"203.0.113.8/29\"]",
            "line 6: icmp.ipv4_pool: 203.0.113.8/29 overlaps 203.0.113.0/24",
        ),
        (
            "[deny]\nipv6 = [\"192.0.2.0/24\"]",
            "line 6: deny.ipv6: `192.0.2.0/24` is an IPv4 address; an IPv6 address or prefix belongs here",
        ),
        ("[control]\nsocket = \"xlat.sock\"", "line 6: control.socket: xlat.sock: give the whole path, from / on"),
        (
            "[metrics]\nlisten = \"localhost\"",
            "line 6: metrics.listen = \"localhost\": give an address and a port, such as \"127.0.0.1:9464\" or \
             \"[::1]:9464\"",
        ),
    ];
    for (more, sentence) in rows {
        let problems = parse(&format!("{LEAST}{more}")).expect_err(more);
        assert_eq!(sentences(&problems), [*sentence], "{more}");
    }
}

#[test]
fn translation_prefixes_are_those_of_rfc_6052() {
    for (prefixes, sentence) in [
        (
            "\"2001:db8::/33\"",
            "2001:db8::/33: a translation prefix has the length 32, 40, 48, 56, 64 or 96, not 33 (RFC 6052 section 2.2)",
        ),
        (
            "\"2001:db8::100:0:0:0/96\"",
            "2001:db8:0:0:100::/96: bits 64 to 71 of a translation prefix are zero (RFC 6052 section 2.2)",
        ),
        ("\"2001:db8::/96\", \"2001:db8::/32\"", "2001:db8::/32 overlaps 2001:db8::/96"),
        ("\"::/96\"", "::/96 holds the unspecified address and loopback"),
        ("\"ff00::/32\"", "ff00::/32 is multicast (ff00::/8): no packet may come from or go to it"),
    ] {
        let text = format!("[dataplane]\ninterfaces = [\"eth0\"]\n[translation]\nprefixes = [{prefixes}]");
        let expected = format!("line 4: translation.prefixes: {sentence}");
        assert_eq!(sentences(&parse(&text).expect_err(prefixes)), [expected]);
    }
    for len in [32, 40, 48, 56, 64, 96] {
        let text = format!("[dataplane]\ninterfaces = [\"eth0\"]\n[translation]\nprefixes = [\"2001:db8::/{len}\"]");
        assert_eq!(parse(&text).unwrap().config.translation.prefixes[0].prefix_len(), len);
    }
}

#[test]
fn every_fault_is_told_at_once() {
    let problems = parse("[dataplane]\ninterfaces = []\nmax_eams = -1\n[icmp]\nrate = 0").unwrap_err();
    assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [Some(2), Some(3), Some(5)]);
}

#[test]
fn warns_of_what_is_doubtful() {
    let more = "[[eam]]\nipv4 = \"192.0.2.0/24\"\nipv6 = \"2001:db8::/120\"\n\
        [[eam]]\nipv4 = \"192.0.2.7\"\nipv6 = \"2001:db8:1::7\"";
    let sentence = "line 8: eam: 192.0.2.7 ↔ 2001:db8:1::7 overlaps the entry 192.0.2.0/24 ↔ 2001:db8::/120: \
        2001:db8::7 becomes 192.0.2.7, which comes back as 2001:db8:1::7 (RFC 7757 section 5)";
    assert_eq!(sentences(&parse(&format!("{LEAST}{more}")).unwrap().warnings), [sentence]);
    let checked = parse("[dataplane]\ninterfaces = [\"eth0\"]").unwrap();
    assert_eq!(checked.warnings.len(), 1);
    assert!(parse(LEAST).unwrap().warnings.is_empty());
}

#[test]
fn refuses_what_the_data_plane_could_do_but_nobody_means() {
    for (more, sentence) in [
        (
            "[[eam]]\nipv4 = \"192.0.2.7\"\nipv6 = \"2001:db8:6464::1\"",
            "line 5: eam: 192.0.2.7 ↔ 2001:db8:6464::1 lies inside the translation prefix 2001:db8:6464::/96: the IPv4 \
             address that its IPv6 address stands for could not be reached any more",
        ),
        (
            "[deny]\nipv4 = [\"192.0.2.0/24\"]\n[[eam]]\nipv4 = \"192.0.2.7\"\nipv6 = \"2001:db8::1\"",
            "line 7: eam: 192.0.2.7 ↔ 2001:db8::1 would never be used: 192.0.2.0/24 is in the deny list",
        ),
    ] {
        let text = format!("{LEAST}{more}");
        assert_eq!(sentences(&parse(&text).unwrap().refusals), [sentence]);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let ConfigError::Invalid { problems, .. } = load(file.path()).unwrap_err() else {
            panic!("a file was written")
        };
        assert_eq!(sentences(&problems), [sentence]);
    }
}

#[test]
fn the_state_directory_is_a_whole_path() {
    let problems = parse(&format!("{LEAST}[state]\ndirectory = \"xlat\"\nhistory = -1")).unwrap_err();
    assert_eq!(
        sentences(&problems),
        [
            "line 6: state.directory: xlat: give the whole path, from / on",
            "line 7: state.history = -1: give a number from 0 to 100000000",
        ]
    );
    let state = config("[state]\ndirectory = \"/srv/xlat\"\nhistory = 5").state;
    assert_eq!((state.directory.as_path(), state.history), (Path::new("/srv/xlat"), 5));
}

#[test]
fn slips_of_toml_are_told_with_what_to_write() {
    let rows = [
        (
            "[translation]\nhairpin = intrinsic # RFC 7757",
            "`hairpin` in [translation]: `intrinsic` has to stand in quotation marks: write hairpin = \"intrinsic\"",
        ),
        (
            "[translation]\nscope = all",
            "`scope` in [translation]: `all` has to stand in quotation marks: write scope = \"all\"",
        ),
        (
            "[metrics]\nlisten = 127.0.0.1:9464",
            "`listen` in [metrics]: `127.0.0.1:9464` has to stand in quotation marks: write listen = \"127.0.0.1:9464\"",
        ),
        (
            "[metrics]\nlisten = [::1]:9464",
            "`listen` in [metrics]: `[::1]:9464` has to stand in quotation marks: write listen = \"[::1]:9464\"",
        ),
        (
            "[state]\ndirectory = “/x”",
            "`directory` in [state]: `“/x”` has to stand in quotation marks: write directory = \"/x\"",
        ),
        (
            "[translation]\nstrict = True",
            "`strict` in [translation]: `True` is not how it is written: write strict = true",
        ),
        (
            "[translation]\nstrict = no",
            "`strict` in [translation]: `no` is not how it is written: write strict = false",
        ),
        ("[translation]\nstrict = perhaps", "`strict` in [translation]: `perhaps` is neither true nor false"),
        (
            "[dataplane]\nmax_eams = 65,536",
            "`max_eams` in [dataplane]: `65,536` is not a whole number: write digits alone, with no zero before them, such as 1500",
        ),
        (
            "[dataplane]\ninterfaces = eth0",
            "`interfaces` in [dataplane]: `eth0` has to stand in a list, in quotation marks: write interfaces = [\"eth0\"]",
        ),
        (
            "[dataplane]\ninterfaces = [\"eth0\", eth1]",
            "`interfaces` in [dataplane]: `eth1` has to stand in quotation marks: write \"eth1\"",
        ),
        (
            "[translation]\nprefixes = [2001:db8::/96]",
            "`prefixes` in [translation]: `2001:db8::/96` has to stand in quotation marks: write \"2001:db8::/96\"",
        ),
        (
            "[control]\nsocket = \"/run/x",
            "`socket` in [control]: the quotation mark is not closed on its line: write socket = \"…\"",
        ),
        ("[control]\nsocket =", "`socket` in [control]: a value is missing after the equals sign"),
        ("[control]\nsocket: x", "a line has the form key = value"),
        ("\n[eam]\nipv4 = \"192.0.2.1\"", "[eam]: there may be several: write [[eam]]"),
        ("\n[prefix_for]", "[prefix_for]: there may be several: write [[prefix_for]]"),
        ("\n[[dataplane]]\ninterfaces = [\"a\"]", "[[dataplane]]: there is one: write [dataplane]"),
        ("[icmp]\n[icmp]", "[icmp] is there twice: put its keys together under one"),
        ("scope = 1\nscope = 2", "`scope` is there twice: take one of them out"),
    ];
    for (text, sentence) in rows {
        assert_eq!(sentences(&parse(text).expect_err(text)), [format!("line 2: {sentence}")], "{text}");
    }
    let large =
        parse(&format!("{LEAST}lowest_ipv6_mtu = 99999999999999999999\ntos = 99999999999999999999")).unwrap_err();
    assert_eq!(
        sentences(&large),
        [
            "line 5: translation.lowest_ipv6_mtu = 99999999999999999999: give a number from 1280 to 65535 (no IPv6 link has \
             less than 1280: RFC 8200 section 5)",
            "line 6: translation.tos = 99999999999999999999: give \"copy\", \"zero\" or a number from 0 to 255",
        ]
    );
}

#[test]
fn a_fault_repeats_a_long_value_in_part() {
    for long in ["x".repeat(5000), "/x".repeat(5000), format!("2001:db8::{}", "0".repeat(5000)), "ä".repeat(5000)] {
        for (section, key) in [
            ("dataplane", "xdp_mode"),
            ("dataplane", "pin_directory"),
            ("dataplane", "max_eams"),
            ("dataplane", "x"),
            ("translation", "scope"),
            ("translation", "tos"),
            ("translation", "strict"),
            ("state", "directory"),
            ("control", "socket"),
            ("metrics", "listen"),
            ("accounting", "named"),
        ] {
            for value in [format!("\"{long}\""), long.clone()] {
                for problem in parse(&format!("[{section}]\n{key} = {value}")).err().unwrap_or_default() {
                    assert!(problem.text.chars().count() < 400, "{key}: {problem}");
                }
            }
        }
        for text in [
            format!("[dataplane]\ninterfaces = [\"{long}\"]"),
            format!("[dataplane]\ninterfaces = [\"{long}*\", \"{long}*\"]"),
            format!("[dataplane]\ninterfaces = [{long}]"),
            format!("[dataplane]\n\"{long}\" = 1"),
            format!("[\"{long}\"]"),
            format!("{LEAST}[[eam]]\nipv4 = \"{long}\"\nipv6 = \"{long}\"\ncomment = \"{long}\""),
        ] {
            for problem in parse(&text).err().unwrap_or_default() {
                assert!(problem.text.chars().count() < 400, "{problem}");
            }
        }
    }
}

#[test]
fn what_is_not_utf_8_is_told_with_its_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), b"[dataplane]\n# caf\xe9\n").unwrap();
    let said = load(file.path()).unwrap_err().to_string();
    let sentence = ":2: this is not UTF-8: save the file as UTF-8, or take out what is not ASCII";
    assert_eq!(said, format!("{}{sentence}", file.path().display()));
}
