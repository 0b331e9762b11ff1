//! The page for Prometheus, made anew at each request from one reading of the data plane. docs/metrics.md lists what is on it.

use std::sync::LazyLock;

use prometheus::{
    Encoder, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
    core::{Collector, Desc},
    process_collector::ProcessCollector,
    proto::MetricFamily,
};
use xlat_common::{
    counters::{Counters, Direction, Protocol, Verdict},
    reason::DropReason,
};

use crate::{
    api::{Attachment, Status},
    daemon::owner::UsageForMetrics,
    eam, netlink,
};

/// The page for one reading.
pub(super) fn page(
    status: &Status,
    counters: &Counters,
    usage: &UsageForMetrics,
    ready: Option<bool>,
) -> prometheus::Result<String> {
    let registry = Registry::new();
    traffic(&registry, counters)?;
    drops(&registry, counters)?;
    others(&registry, counters)?;
    eams(&registry, usage)?;
    native(&registry, usage)?;
    table(&registry, status)?;
    interfaces(&registry, status)?;
    readiness(&registry, ready)?;
    build_info(&registry, status)?;
    registry.register(Box::new(OfProcess))?;
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
}

/// The figures of this process, which began once: a collector made anew takes the start from what the clock says by then.
struct OfProcess;

static PROCESS: LazyLock<ProcessCollector> = LazyLock::new(ProcessCollector::for_self);

impl Collector for OfProcess {
    fn desc(&self) -> Vec<&Desc> {
        PROCESS.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        PROCESS.collect()
    }
}

fn traffic(registry: &Registry, counters: &Counters) -> prometheus::Result<()> {
    let labels = ["direction", "protocol", "verdict"];
    let packets =
        IntCounterVec::new(Opts::new("xlat_packets_total", "Packets that arrived, by what became of them."), &labels)?;
    let bytes = IntCounterVec::new(
        Opts::new("xlat_bytes_total", "Bytes of the IP packets that arrived, without link-layer headers."),
        &labels,
    )?;
    for direction in Direction::ALL {
        for protocol in Protocol::ALL {
            for verdict in Verdict::ALL {
                let values = [direction.name(), protocol.name(), verdict.name()];
                let counted = counters.traffic(direction, protocol, verdict);
                packets.with_label_values(&values).inc_by(counted.packets);
                bytes.with_label_values(&values).inc_by(counted.bytes);
            }
        }
    }
    registry.register(Box::new(packets))?;
    registry.register(Box::new(bytes))
}

fn eams(registry: &Registry, usage: &UsageForMetrics) -> prometheus::Result<()> {
    let labels = ["ipv4", "ipv6", "direction"];
    let packets = IntCounterVec::new(Opts::new("xlat_eam_packets_total", "Packets translated, by EAM."), &labels)?;
    let bytes =
        IntCounterVec::new(Opts::new("xlat_eam_bytes_total", "Bytes of the IP packets translated, by EAM."), &labels)?;
    for (pair, counted) in &usage.eams {
        let (ipv4, ipv6) = (eam::short4(pair.ipv4()), eam::short6(pair.ipv6()));
        for direction in Direction::ALL {
            let values = [&*ipv4, &*ipv6, direction.name()];
            packets.with_label_values(&values).inc_by(counted.translated.of(direction).packets);
            bytes.with_label_values(&values).inc_by(counted.translated.of(direction).bytes);
        }
    }
    registry.register(Box::new(packets))?;
    registry.register(Box::new(bytes))
}

/// Directions of what is IPv6 from end to end.
const NATIVE: [&str; 2] = ["to_service", "from_service"];

fn native(registry: &Registry, usage: &UsageForMetrics) -> prometheus::Result<()> {
    let Some(native) = usage.native else { return Ok(()) };
    let of_eam = ["ipv4", "ipv6", "direction"];
    let counter = |name: &str, help: &str, labels: &[&str]| {
        let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
        registry.register(Box::new(counter.clone()))?;
        prometheus::Result::Ok(counter)
    };
    let packets =
        counter("xlat_native_packets_total", "Packets that passed natively to or from services.", &["direction"])?;
    let bytes = counter("xlat_native_bytes_total", "Bytes of the IP packets that passed natively.", &["direction"])?;
    let eam_packets =
        counter("xlat_eam_native_packets_total", "Packets that passed natively to or from a service.", &of_eam)?;
    let eam_bytes = counter("xlat_eam_native_bytes_total", "Bytes of the IP packets that passed natively.", &of_eam)?;
    for (at, direction) in NATIVE.into_iter().enumerate() {
        packets.with_label_values(&[direction]).inc_by(native.traffic[at].packets);
        bytes.with_label_values(&[direction]).inc_by(native.traffic[at].bytes);
        for (pair, counted) in &usage.eams {
            let values = [&*eam::short4(pair.ipv4()), &*eam::short6(pair.ipv6()), direction];
            eam_packets.with_label_values(&values).inc_by(counted.native.traffic[at].packets);
            eam_bytes.with_label_values(&values).inc_by(counted.native.traffic[at].bytes);
        }
    }
    Ok(())
}

fn drops(registry: &Registry, counters: &Counters) -> prometheus::Result<()> {
    let drops = IntCounterVec::new(Opts::new("xlat_drops_total", "Packets dropped, by reason."), &["reason"])?;
    for reason in DropReason::ALL {
        drops.with_label_values(&[reason.name()]).inc_by(counters.drops(*reason));
    }
    registry.register(Box::new(drops))
}

fn others(registry: &Registry, counters: &Counters) -> prometheus::Result<()> {
    let errors = IntCounterVec::new(
        Opts::new("xlat_icmp_errors_total", "ICMP errors of the relay's own: sent, or suppressed by rate or setting."),
        &["outcome"],
    )?;
    errors.with_label_values(&["sent"]).inc_by(counters.errors_sent);
    errors.with_label_values(&["suppressed"]).inc_by(counters.errors_suppressed);
    registry.register(Box::new(errors))?;
    for (name, help, value) in [
        (
            "xlat_passed_frames_total",
            "Frames passed to the kernel that are neither IPv4 nor IPv6, or not for this machine.",
            counters.passed_other,
        ),
        ("xlat_hairpinned_packets_total", "Packets translated twice, from service to service.", counters.hairpinned),
        (
            "xlat_route_lookups_total",
            "Packets for which the routing table was asked, their next hop not being remembered.",
            counters.route_lookups,
        ),
        ("xlat_suppressed_events_total", "Events kept out of the log by the rate limit.", counters.events_suppressed),
        (
            "xlat_netlink_overruns_total",
            "Times the kernel had more news of the machine than were read in time: all of it was looked at again.",
            netlink::overruns(),
        ),
    ] {
        let counter = IntCounter::new(name, help)?;
        counter.inc_by(value);
        registry.register(Box::new(counter))?;
    }
    Ok(())
}

fn table(registry: &Registry, status: &Status) -> prometheus::Result<()> {
    for (name, help, value) in [
        ("xlat_eam_entries", "Explicit address mappings in force.", status.table.entries),
        ("xlat_eam_entries_max", "Explicit address mappings that the table can hold.", status.table.max_entries),
        ("xlat_table_bytes", "Memory of the look-up tables.", status.table.bytes),
    ] {
        let gauge = IntGauge::new(name, help)?;
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(Box::new(gauge))?;
    }
    Ok(())
}

fn interfaces(registry: &Registry, status: &Status) -> prometheus::Result<()> {
    let modes = IntGaugeVec::new(
        Opts::new(
            "xlat_interface_xdp_mode",
            "1 for the mode in which the program is attached to a configured interface; none: it is not attached.",
        ),
        &["interface", "mode"],
    )?;
    for interface in status.interfaces.iter().filter(|interface| interface.state != Attachment::Covered) {
        let in_force = interface.mode.as_deref().filter(|_| interface.state == Attachment::Attached).unwrap_or("none");
        for mode in ["native", "generic", "none"] {
            modes.with_label_values(&[interface.name.as_str(), mode]).set((mode == in_force).into());
        }
    }
    registry.register(Box::new(modes))
}

/// `None`: this kernel runs no canaries.
fn readiness(registry: &Registry, ready: Option<bool>) -> prometheus::Result<()> {
    let Some(ready) = ready else { return Ok(()) };
    let gauge = IntGauge::new("xlat_ready", "Whether canaries were translated rightly in both directions just now.")?;
    gauge.set(ready.into());
    registry.register(Box::new(gauge))
}

fn build_info(registry: &Registry, status: &Status) -> prometheus::Result<()> {
    let info = IntGaugeVec::new(
        Opts::new(
            "xlat_build_info",
            "1; the labels tell the daemon's version and the kernel's tag of the XDP program.",
        ),
        &["version", "program_tag"],
    )?;
    info.with_label_values(&[status.version.as_str(), status.program.tag.as_str()]).set(1);
    registry.register(Box::new(info))
}

#[cfg(test)]
mod tests;
