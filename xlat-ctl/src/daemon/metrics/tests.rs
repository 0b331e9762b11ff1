use std::collections::{BTreeMap, BTreeSet};

use super::*;
use xlat_common::{account::Record, counters::Traffic};

use crate::api::{InterfaceStatus, Program, State, TableStatus};
use crate::{dataplane::Counted, eam::Pair};

fn status() -> Status {
    Status {
        state: State::Attached,
        version: "0.1.0".to_owned(),
        pid: 1,
        uptime_seconds: 1,
        config: "/etc/xlat/xlat.toml".to_owned(),
        program: Program {
            id: 1,
            tag: "0123456789abcdef".to_owned(),
            name: "xlat".to_owned(),
            jited_bytes: 1,
            verified_instructions: 1,
            memory_bytes: 1,
            run_time_nanoseconds: 0,
            runs: 0,
        },
        table: TableStatus {
            revision: 7,
            entries: 3,
            static_entries: 1,
            dynamic_entries: 2,
            max_entries: 65_536,
            bytes: 4096,
        },
        interfaces: vec![InterfaceStatus {
            name: "eth0".to_owned(),
            ifindex: Some(2),
            state: Attachment::Attached,
            mode: Some("native".to_owned()),
            detail: None,
        }],
    }
}

fn counters() -> Counters {
    let mut counters = Counters::ZERO;
    let cell = Counters::cell(Direction::FourToSix, Protocol::Tcp, Verdict::Redirected);
    counters.traffic[cell].packets = 7;
    counters.traffic[cell].bytes = 700;
    counters.drops[DropReason::Igmp as usize] = 2;
    counters
}

fn usage() -> UsageForMetrics {
    let pair = Pair::new("198.51.100.10/32".parse().unwrap(), "2001:db8:5e1:1::10/128".parse().unwrap()).unwrap();
    let record =
        |packets: [u64; 2]| Record { traffic: packets.map(|packets| Traffic { packets, bytes: 100 * packets }) };
    UsageForMetrics {
        eams: vec![(pair, Counted { translated: record([5, 6]), native: record([7, 8]) })],
        native: Some(record([70, 80])),
    }
}

#[test]
fn shows_what_was_counted() {
    let page = page(&status(), &counters(), &usage(), Some(true)).unwrap();
    for line in [
        r#"xlat_packets_total{direction="four_to_six",protocol="tcp",verdict="redirected"} 7"#,
        r#"xlat_bytes_total{direction="four_to_six",protocol="tcp",verdict="redirected"} 700"#,
        r#"xlat_drops_total{reason="igmp"} 2"#,
        r#"xlat_interface_xdp_mode{interface="eth0",mode="native"} 1"#,
        r#"xlat_interface_xdp_mode{interface="eth0",mode="generic"} 0"#,
        r#"xlat_eam_packets_total{direction="four_to_six",ipv4="198.51.100.10",ipv6="2001:db8:5e1:1::10"} 5"#,
        r#"xlat_eam_bytes_total{direction="six_to_four",ipv4="198.51.100.10",ipv6="2001:db8:5e1:1::10"} 600"#,
        r#"xlat_eam_native_packets_total{direction="to_service",ipv4="198.51.100.10",ipv6="2001:db8:5e1:1::10"} 7"#,
        r#"xlat_native_bytes_total{direction="from_service"} 8000"#,
        "xlat_eam_entries 3",
        "xlat_ready 1",
        "xlat_table_bytes 4096",
        r#"xlat_build_info{program_tag="0123456789abcdef",version="0.1.0"} 1"#,
    ] {
        assert!(page.lines().any(|other| other == line), "{line} is not in\n{page}");
    }
}

/// The cells of a document's tables, the rows by the name in their first cell.
fn documented(section: &str) -> BTreeMap<String, Vec<String>> {
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.map(|row| row.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>());
    cells.map(|cells| (cells[0].trim_matches('`').to_owned(), cells[1..].to_vec())).collect()
}

/// The words that stand in backquotes.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The names of a metric's labels, and what they are on the page.
fn labels(page: &str, metric: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let series = page.lines().filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{')?.split_once('}'));
    let pairs = series.flat_map(|(labels, _)| labels.split(',').filter_map(|label| label.split_once('=')));
    pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).unzip()
}

#[test]
fn docs_metrics_md_names_every_metric_with_its_type_and_labels() {
    let document = include_str!("../../../../docs/metrics.md");
    let (metrics, _) = document.split_once("## Drop reasons").expect("a section for the drop reasons");
    let documented = documented(metrics);
    let page = page(&status(), &counters(), &usage(), Some(true)).unwrap();
    let live: BTreeMap<&str, &str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    assert!(documented.keys().eq(live.keys()), "{:?} are not {:?}", documented.keys(), live.keys());
    for (metric, kind) in live {
        let cells = &documented[metric];
        assert_eq!(cells[0], kind, "{metric}");
        let (names, values) = labels(&page, metric);
        let said = quoted(&cells[1]);
        assert!(names.is_subset(&said), "docs/metrics.md says of the labels of {metric}: {said:?}, not {names:?}");
        for word in said.difference(&names) {
            assert!(values.contains(word), "docs/metrics.md says of {metric}: `{word}`, which no label of it is");
        }
    }
}

#[test]
fn docs_metrics_md_names_what_directions_protocols_and_verdicts_there_are() {
    let document = include_str!("../../../../docs/metrics.md");
    let (_, section) = document.split_once("## Labels").expect("a section for the labels");
    let (section, _) = section.split_once("\n## ").expect("another section");
    let names: BTreeSet<String> = ["direction", "protocol", "verdict", "xlat_drops_total"]
        .into_iter()
        .chain(Direction::ALL.iter().map(|direction| direction.name()))
        .chain(Protocol::ALL.iter().map(|protocol| protocol.name()))
        .chain(Verdict::ALL.iter().map(|verdict| verdict.name()))
        .map(str::to_owned)
        .collect();
    assert_eq!(quoted(section), names);
}

#[test]
fn docs_metrics_md_names_every_reason_in_its_own_words() {
    let document = include_str!("../../../../docs/metrics.md");
    let (_, reasons) = document.split_once("## Drop reasons").expect("a section for the drop reasons");
    let documented = documented(reasons);
    let known: BTreeSet<&str> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
    assert!(documented.keys().eq(known.iter()), "{:?} are not {known:?}", documented.keys());
    for reason in DropReason::ALL {
        assert_eq!(documented[reason.name()][0], reason.text(), "{}", reason.name());
    }
}
