mod faults;

use xlat_common::settings::{self as common, Ipv4Range, Settings};

use super::*;

/// The least configuration that is valid without a warning.
const LEAST: &str = "[dataplane]\ninterfaces = [\"eth0\"]\n[translation]\nprefixes = [\"2001:db8:6464::/96\"]\n";

fn config(more: &str) -> Config {
    parse(&format!("{LEAST}{more}")).unwrap_or_else(|problems| panic!("{more}: {problems:?}")).config
}

fn sentences(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(Problem::to_string).collect()
}

/// Lines `#key = value` of the example show defaults.
fn with_defaults_spelled_out() -> String {
    let is_setting = |line: &str| line.starts_with(|char: char| char.is_ascii_lowercase()) && line.contains(" = ");
    let uncomment = |line: &str| line.strip_prefix('#').filter(|rest| is_setting(rest)).unwrap_or(line).to_owned();
    EXAMPLE.lines().map(uncomment).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_shows_the_defaults() {
    let example = parse(EXAMPLE).unwrap();
    assert!(example.warnings.is_empty(), "{:?}", example.warnings);
    assert_ne!(with_defaults_spelled_out(), EXAMPLE.trim_end());
    assert_eq!(parse(&with_defaults_spelled_out()).unwrap(), example);
    let mut expected = Settings { prefix_count: 1, ..Settings::DEFAULT };
    expected.prefixes[0] =
        common::TranslationPrefix::new("2001:db8:6464::".parse::<std::net::Ipv6Addr>().unwrap().into(), 96, false);
    assert_eq!(Settings::from(&example.config), expected);
    assert_eq!(example.config.control.socket, Path::new(DEFAULT_SOCKET));
}

#[test]
fn the_examples_of_prefix_for_and_eam_are_valid() {
    let text: Vec<&str> = EXAMPLE
        .lines()
        .map(|line| {
            let rest = line.strip_prefix("# ").unwrap_or(line);
            let shown = ["[[", "prefix ", "interfaces =", "ipv4 ", "ipv6 ", "comment "];
            if shown.iter().any(|start| rest.starts_with(start)) { rest } else { line }
        })
        .collect();
    let config = parse(&text.join("\n")).unwrap().config;
    assert_eq!((config.prefix_for.len(), config.eams.len()), (1, 1));
}

#[test]
fn the_example_names_every_key() {
    for section in ["dataplane", "translation", "prefix_for", "eam", "icmp", "deny", "state", "control", "metrics"] {
        let header =
            if ["prefix_for", "eam"].contains(&section) { format!("[[{section}]]") } else { format!("[{section}]") };
        let problems = parse(&format!("{header}\nbogus = 1")).unwrap_err();
        let (_, allowed) = problems[0].text.split_once("allowed here: ").unwrap();
        for key in allowed.split(", ") {
            let shown = EXAMPLE.lines().any(|line| {
                let line = line.trim_start_matches(['#', ' ']);
                line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with("= "))
            });
            assert!(shown, "the example does not show {section}.{key}");
        }
    }
}

#[test]
fn settings_take_every_key() {
    let config = config(
        "lowest_ipv6_mtu = 1400\nhairpin = \"simple\"\nudp_zero_checksum = \"compute\"\ntraffic_class = 46\n\
         tos = \"zero\"\nflow_label = \"hash\"\nmtu_plateaus = [1500, 576]\nscope = \"all\"\nstrict = true\n\
         [icmp]\nerrors = \"on\"\nrate = 5\nipv4_pool = [\"203.0.113.8/29\", \"192.0.2.1\"]\n\
         ipv6_pool = [\"2001:db8:f::/64\"]\ninterface_info = true",
    );
    let settings = Settings::from(&config);
    let mut expected = Settings {
        prefix_count: 1,
        lowest_ipv6_mtu: 1400,
        hairpin: common::hairpin::SIMPLE,
        udp_zero_checksum_compute: 1,
        traffic_class_mode: common::dscp::FIXED,
        traffic_class: 46,
        tos_mode: common::dscp::FIXED,
        tos: 0,
        flow_label_hash: 1,
        scope_all: 1,
        strict: 1,
        icmp_errors: common::icmp_errors::ON,
        icmp_rate: 5,
        interface_info: 1,
        plateau_count: 2,
        ipv4_pool_count: 2,
        ipv4_pool_size: 9,
        ipv6_pool_count: 1,
        ..Settings::DEFAULT
    };
    expected.prefixes = settings.prefixes;
    expected.plateaus = [0; common::MAX_PLATEAUS];
    expected.plateaus[..2].copy_from_slice(&[1500, 576]);
    expected.ipv4_pool[0] = Ipv4Range { first: 0xcb00_7108, count: 8 };
    expected.ipv4_pool[1] = Ipv4Range { first: 0xc000_0201, count: 1 };
    expected.ipv6_pool = settings.ipv6_pool;
    assert_eq!(settings, expected);
    assert_eq!(settings.ipv6_pool[0].count, u64::from(u32::MAX));
}

#[test]
fn the_well_known_prefix_is_for_global_addresses_unless_told_otherwise() {
    let text = |more: &str| {
        format!(
            "[dataplane]\ninterfaces = [\"eth0\"]\n[translation]\nprefixes = [\"64:ff9b::/96\", \"2001:db8::/96\"]\n{more}"
        )
    };
    let strict = Settings::from(&parse(&text("")).unwrap().config);
    assert_eq!([strict.prefixes[0].global_only, strict.prefixes[1].global_only], [1, 0]);
    let lax = Settings::from(&parse(&text("well_known_prefix_strict = false")).unwrap().config);
    assert_eq!(lax.prefixes[0].global_only, 0);
}

#[test]
fn prefix_for_assigns_the_longest_match() {
    let text = "[dataplane]\ninterfaces = [\"eth*\"]\n[translation]\n\
        prefixes = [\"2001:db8:a::/96\", \"2001:db8:b::/96\", \"2001:db8:c::/96\"]\n\
        [[prefix_for]]\nprefix = \"2001:db8:b::/96\"\nipv4 = [\"198.51.100.0/24\"]\n\
        [[prefix_for]]\nprefix = \"2001:db8:c::/96\"\nipv4 = [\"198.51.100.128/25\"]\ninterfaces = [\"eth1*\"]";
    let config = parse(text).unwrap().config;
    let prefix_of = |ipv4: &str| {
        let pair = Pair::new(eam::parse_ipv4(ipv4).unwrap(), eam::parse_ipv6("2001:db8:1::/64").unwrap()).unwrap();
        config.prefix_of(&pair)
    };
    assert_eq!(prefix_of("198.51.100.1"), Some(1));
    assert_eq!(prefix_of("198.51.100.129"), Some(2));
    assert_eq!(prefix_of("192.0.2.1"), None);
    assert_eq!(config.interface_prefixes(), [("eth1*".to_owned(), 2)]);
}

#[test]
fn globs_mean_interfaces_but_never_the_loopback() {
    let pattern = |text: &str| Pattern::new(text).unwrap();
    assert!(pattern("eth*").matches("eth0"));
    assert!(pattern("ens1f[01]").matches("ens1f1"));
    assert!(pattern("*").matches("eth0"));
    assert!(!pattern("*").matches("lo"));
    assert!(pattern("lo").matches("lo"));
    assert!(!pattern("eth").matches("eth0"));
}

#[test]
fn another_socket_takes_a_restart_unless_the_command_line_has_named_it() {
    let mut before = parse(EXAMPLE).unwrap().config;
    let mut after = before.clone();
    after.control.socket = PathBuf::from("/run/other.sock");
    assert_eq!(before.needs_restart(&after), Some("control.socket"));
    before.control.is_named = true;
    assert_eq!(before.needs_restart(&after), None);
}

#[test]
fn a_missing_file_is_told_with_its_name() {
    let error = load(Path::new("/nonexistent/xlat.toml")).unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot read the configuration /nonexistent/xlat.toml: No such file or directory (give another with --config)"
    );
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic_or_stutter(
        edits in proptest::collection::vec((0usize..6000, 0usize..12, r#"[\[\]{}"'=.,#/:*a-f0-9é\n -]{0,4}"#), 1..6),
    ) {
        let mut text = with_defaults_spelled_out();
        for (at, remove, insert) in edits {
            let boundary = |mut index: usize, text: &str| {
                while !text.is_char_boundary(index) {
                    index -= 1;
                }
                index
            };
            let start = boundary(at.min(text.len()), &text);
            let end = boundary((start + remove).min(text.len()), &text).max(start);
            text.replace_range(start..end, &insert);
        }
        if let Err(problems) = parse(&text) {
            proptest::prop_assert!(!problems.is_empty());
            for problem in problems {
                proptest::prop_assert!(!problem.text.is_empty());
                proptest::prop_assert!(!problem.text.contains('\n'), "{}", problem.text);
            }
        }
    }
}
