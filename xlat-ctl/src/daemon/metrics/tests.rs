use std::collections::BTreeSet;

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
    let page = page(&status(), &counters(), &usage()).unwrap();
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
        "xlat_table_bytes 4096",
        r#"xlat_build_info{program_tag="0123456789abcdef",version="0.1.0"} 1"#,
    ] {
        assert!(page.lines().any(|other| other == line), "{line} is not in\n{page}");
    }
}

/// The names in `| \`name\` |` at the beginning of a row.
fn documented(section: &str) -> BTreeSet<String> {
    section.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned())).collect()
}

#[test]
fn every_metric_and_every_reason_is_in_docs_metrics_md() {
    let document = include_str!("../../../../docs/metrics.md");
    let (metrics, reasons) = document.split_once("## Drop reasons").expect("a section for the drop reasons");
    let page = page(&status(), &counters(), &usage()).unwrap();
    let live: BTreeSet<String> =
        page.lines().filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split_once(' ')?.0.to_owned())).collect();
    assert_eq!(documented(metrics), live);
    let known: BTreeSet<String> = DropReason::ALL.iter().map(|reason| reason.name().to_owned()).collect();
    assert_eq!(documented(reasons), known);
    for reason in DropReason::ALL {
        assert!(
            reasons.contains(reason.text()),
            "docs/metrics.md does not say of {}: {}",
            reason.name(),
            reason.text()
        );
    }
}
