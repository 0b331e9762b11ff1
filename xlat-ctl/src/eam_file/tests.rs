use proptest::prelude::*;

use super::*;

fn lines(text: &str) -> Vec<Line> {
    parse(text.as_bytes(), None).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    parse(text.as_bytes(), None).expect_err(text).to_string()
}

#[test]
fn reads_csv_with_and_without_heading() {
    let expected = [Line { number: 3, ..line(3, "192.0.2.1", "2001:db8::1", "the, \"old\" one").unwrap() }];
    for text in [
        "# services\n\n192.0.2.1, 2001:db8::1 ,\"the, \"\"old\"\" one\"\n",
        "IPv4,IPv6,comment,origin\r\n\r\n192.0.2.1/32,2001:db8::1/128,\"the, \"\"old\"\" one\",dynamic\r\n",
        "\u{feff}comment,ipv6,ipv4\n\n\"the, \"\"old\"\" one\",2001:db8::1,192.0.2.1",
    ] {
        assert_eq!(lines(text), expected, "{text}");
    }
    assert!(lines("ipv4,ipv6\n").is_empty());
}

#[test]
fn an_entry_whose_comment_is_a_name_of_a_column_is_no_heading() {
    for comment in ["IPv4", "ipv6", "\"IPv4\""] {
        let read = lines(&format!("192.0.2.1,2001:db8::1,{comment}\n192.0.2.2,2001:db8::2\n"));
        assert_eq!((read.len(), &*read[0].comment), (2, comment.trim_matches('"')));
    }
    assert!(refused("ipv4,www\n").starts_with("line 1: unknown column `www`"));
}

/// As spreadsheets and databases write them.
#[test]
fn empty_rows_and_comments_that_are_null_are_nothing() {
    let read = lines(",,\nipv4,ipv6,comment\n192.0.2.1,2001:db8::1,www\n,,,\n\"\",,\n");
    assert_eq!((read.len(), &*read[0].comment), (1, "www"));
    let read = lines("[{\"ipv4\": \"192.0.2.1\", \"ipv6\": \"2001:db8::1\", \"comment\": null}]");
    assert_eq!((read.len(), &*read[0].comment), (1, ""));
}

#[test]
fn a_comma_at_the_end_of_a_heading_is_nothing() {
    let read = lines("ipv4,ipv6,comment,\n192.0.2.1,2001:db8::1,www,\n192.0.2.2,2001:db8::2\n");
    assert_eq!((read.len(), &*read[0].comment), (2, "www"));
    assert!(refused("ipv4,ipv6,,\n").starts_with("line 1: unknown column ``"));
    assert!(refused("ipv4,ipv6,\n192.0.2.1,2001:db8::1,www\n").starts_with("line 2: 3 fields, but"));
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_file() {
    for text in [
        "192.0.2.1,2001:db8::1",
        "[{\"ipv4\": \"192.0.2.1\", \"ipv6\": \"2001:db8::1\"}]",
        "[[eam]]\nipv4 = \"192.0.2.1\"\nipv6 = \"2001:db8::1\"",
    ] {
        assert_eq!(lines(&format!("\u{feff}{text}")), lines(text), "{text}");
        for format in [Format::Csv, Format::Json, Format::Toml] {
            assert_eq!(
                parse(format!("\u{feff}{text}").as_bytes(), Some(format)),
                parse(text.as_bytes(), Some(format)),
                "{text} as {format}"
            );
        }
    }
}

#[test]
fn recognizes_the_format() {
    for (text, format) in [
        ("192.0.2.1,2001:db8::1", Format::Csv),
        ("# x\n[[eam]]\nipv4 = \"192.0.2.1\"", Format::Toml),
        ("eam = []", Format::Toml),
        (" [ {\"ipv4\": \"192.0.2.1\"} ]", Format::Json),
        ("{\"entries\": []}", Format::Json),
        ("[control]\nsocket = \"/run/x\"\n[[eam]]", Format::Toml),
        ("[[eam]]", Format::Toml),
        ("[]", Format::Json),
        ("[\"x\"]", Format::Json),
        ("[[1]]", Format::Json),
        ("[[]]", Format::Json),
        ("[\n{}]", Format::Json),
        ("", Format::Csv),
    ] {
        assert_eq!(recognize(text), format, "{text}");
    }
}

#[test]
fn a_name_tells_the_format() {
    for (name, format) in [
        ("/tmp/eam.toml", Some(Format::Toml)),
        ("eam.JSON", Some(Format::Json)),
        ("a.b/eam.csv", Some(Format::Csv)),
        ("eam.txt", None),
        ("toml", None),
        ("-", None),
    ] {
        assert_eq!(Format::of_name(Path::new(name)), format, "{name}");
    }
}

#[test]
fn tells_the_line_that_is_wrong() {
    for (text, sentence) in [
        (
            "192.0.2.1,2001:db8::1\n192.0.2.2",
            "line 2: `192.0.2.2`: an entry has an IPv4 and an IPv6 prefix, with a comma between",
        ),
        (
            "192.0.2.1;2001:db8::1;www",
            "line 1: `192.0.2.1;2001:db8::1;www`: an entry has an IPv4 and an IPv6 prefix, with a comma between, not a semicolon",
        ),
        ("IPv6 Prefix,IPv4 Prefix\n", "line 1: this is a table of Jool: use `xlat-ctl import jool`"),
        ("{\"framework\": \"netfilter\"}", "line 1: this is a configuration of Jool: use `xlat-ctl import jool`"),
        ("192.0.2.1,2001:db8::1\n\nwww,2001:db8::2", "line 3: `www` is not an IPv4 address or prefix"),
        ("192.0.2.1,2001:db8::1,a,b", "line 1: `b` is no origin"),
        ("ipv4,ipv6,comment\n192.0.2.1,2001:db8::1,a,b", "line 2: 4 fields, but 3 columns"),
        (
            "ipv4,ipv6\n\n192.0.2.1,2001:db8::1,www",
            "line 3: 3 fields, but the heading names 2 columns, and no column `comment`: name it there",
        ),
        ("192.0.2.1,2001:db8::1,\"a", "line 1: a quotation mark is not closed"),
        ("ipv4,ip6\n", "line 1: unknown column `ip6`"),
        ("192.0.2.1,ff02::1", "line 1: ff02::1 is multicast"),
        ("[\n {\"ipv4\": \"192.0.2.1\"}]", "line 2: missing field `ipv6`"),
        ("[{\"ipv4\": \"192.0.2.1\", \"ipv6\": \"::1\"}]", "line 1: ::1 is loopback"),
        (
            "{\"entries\": [\n  {\"ipv4\": \"192.0.2.1\", \"ipv6\": \"2001:db8::1\"},\n\n  {\n    \"ipv4\": \"192.0.2.2\", \"ipv6\": \"::1\"}\n]}",
            "line 5: ::1 is loopback",
        ),
        ("{\"entries\": [], \"x\": 1}", "line 1: unknown field `x`"),
        ("{\"revision\": 7}", "line 1: missing field `entries`"),
        ("{\"entries\": [], \"entries\": []}", "line 1: duplicate field `entries`"),
        ("{\"entries\": 7}", "line 1: invalid type: integer `7`, expected a sequence"),
        ("[] []", "line 1: trailing characters"),
        (
            "[[eam]]\nipv4 = \"192.0.2.1\"\nipv6 = \"2001:db8::\"\n[[eam]]\nipv4 = \"1\"\nipv6 = \"::\"",
            "line 4: `1` is not",
        ),
        ("[[eam]]\nipv4 = \"192.0.2.1\"\nip6 = \"2001:db8::\"", "line 3: unknown field `ip6`"),
        ("", "the file has no entries: to delete all dynamic entries, give the heading"),
        ("# nothing\n", "the file has no entries"),
    ] {
        let said = refused(text);
        assert!(said.contains(sentence), "{text}: {said}");
    }
    let said = parse(b"192.0.2.1,2001:db8::1\n\xff", None).unwrap_err().to_string();
    assert_eq!(said, "line 2: this is not UTF-8: save the file as UTF-8, or take out what is not ASCII");
}

#[test]
fn an_error_repeats_a_bad_field_in_part() {
    for long in ["x".repeat(5_000_000), "ß\\u0020".repeat(1000)] {
        for text in [
            long.clone(),
            format!("192.0.2.1,{long}"),
            format!("ipv4,ipv6,{long}"),
            format!("192.0.2.1,2001:db8::1,,{long}"),
            format!("[{{\"{long}\": 1}}]"),
            format!("[\"{long}\"]"),
            format!("[{{\"ipv4\": \"{long}\", \"ipv6\": \"2001:db8::1\"}}]"),
            format!("[[eam]]\n\"{long}\" = 1"),
            format!("[[eam]]\nipv4 = \"{long}\"\nipv6 = \"2001:db8::1\""),
            format!("eam = \"{long}\""),
        ] {
            let said = refused(&text);
            assert!(said.chars().count() < 300, "{}: {said}", &text[..40]);
        }
    }
    let said = refused(&format!("[{{\"{}\": 1}}]", "x".repeat(1000)));
    assert!(
        said.contains("unknown field `x") && said.contains("…") && said.contains("expected one of `ipv4`"),
        "{said}"
    );
}

/// A million entries are read piece by piece; the lines are those of the file.
#[test]
fn the_pieces_of_a_long_toml_file_are_one_file() {
    let entry = |number: u32| {
        let ipv4 = std::net::Ipv4Addr::from_bits(0x0100_0000 + number);
        format!("[[eam]]  # {number}\nipv4 = \"{ipv4}\"\n\nipv6 = \"2001:db8::{number:x}\"\n")
    };
    let many: String = std::iter::once("# services\n\n".to_owned()).chain((1..=2500).map(entry)).collect();
    let read = lines(&many);
    assert_eq!(read.len(), 2500);
    assert_eq!((read[0].number, read[2499].number), (3, 3 + 4 * 2499));
    let wrong = many.replacen("2001:db8::9c4\"", "x\"", 1);
    assert!(refused(&wrong).starts_with(&format!("line {}: `x` is not", 3 + 4 * 2499)), "{}", refused(&wrong));
    let unknown = format!("{many}port = 1\n");
    assert!(
        refused(&unknown).starts_with(&format!("line {}: unknown field `port`", 3 + 4 * 2500)),
        "{}",
        refused(&unknown)
    );
    let other = format!("{many}[control]\n");
    assert!(refused(&other).contains("unknown field `control`"), "{}", refused(&other));
    let array = format!("eam = [{}]", "{ipv4 = \"192.0.2.1\", ipv6 = \"2001:db8::1\"},\n".repeat(400_000));
    assert!(refused(&array).contains("line 1: more than 16 MiB in one piece"), "{}", refused(&array));
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let entry = (any::<u32>(), any::<u128>(), 0u8..=32, "[ -~äß€,\"#=\\\\]{0,20}", any::<bool>()).prop_filter_map(
        "no packet may have the address",
        |(ipv4, ipv6, len, comment, fixed)| {
            let ipv4 = ipnet::Ipv4Net::new(ipv4.into(), len).ok()?.trunc();
            let ipv6 = ipnet::Ipv6Net::new(ipv6.into(), 96 + len).ok()?.trunc();
            let origin = if fixed { Origin::Static } else { Origin::Dynamic };
            Some(Entry { pair: Pair::new(ipv4, ipv6).ok()?, comment: comment.into(), origin })
        },
    );
    proptest::collection::vec(entry, 0..20)
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(entries in entries()) {
        for format in [Format::Csv, Format::Json, Format::Toml] {
            let text = write(entries.iter(), format);
            for named in [Some(format), None] {
                let read = parse(text.as_bytes(), named).unwrap_or_else(|error| panic!("{text}: {error}"));
                let read: Vec<(Pair, &str)> = read.iter().map(|line| (line.pair, &*line.comment)).collect();
                let expected: Vec<(Pair, &str)> = entries.iter().map(|entry| (entry.pair, &*entry.comment)).collect();
                prop_assert_eq!(&read, &expected, "{}", text);
            }
        }
    }

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for format in [None, Some(Format::Csv), Some(Format::Json), Some(Format::Toml)] {
            let _ = parse(&bytes, format);
        }
    }

    #[test]
    fn what_is_accepted_can_be_written(
        text in r#"([0-9./]{0,12}|[0-9a-f:/]{0,12}|192\.0\.2\.1|2001:db8::1|[,"\n# \t]|comment|ipv4|ipv6|[\[\]{}=:]){0,12}"#,
    ) {
        for format in [None, Some(Format::Csv), Some(Format::Json), Some(Format::Toml)] {
            let Ok(read) = parse(text.as_bytes(), format) else { continue };
            let entry = |line: &Line| Entry { pair: line.pair, comment: line.comment.clone(), origin: Origin::Dynamic };
            let entries: Vec<Entry> = read.iter().map(entry).collect();
            let again = parse(write(entries.iter(), Format::Csv).as_bytes(), Some(Format::Csv)).unwrap();
            prop_assert_eq!(again.iter().map(entry).collect::<Vec<_>>(), entries);
        }
    }
}
