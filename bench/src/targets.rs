//! The figures that are to be reached, and whether they are.

use crate::{
    rates::{Row, Subject},
    report::Report,
    stats::Spread,
};

/// One figure.
pub(crate) struct Target {
    /// What it is of.
    pub(crate) what: &'static str,
    /// The bound, with its relation.
    pub(crate) wanted: String,
    /// What was measured, the worst where it is of several scenes; `None`: not in this run.
    pub(crate) measured: Option<Spread>,
    /// Whether the median is within the bound.
    pub(crate) reached: bool,
}

/// Which way a bound goes.
#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// All of them.
pub(crate) fn targets(report: &Report) -> Vec<Target> {
    use Bound::{AtLeast, AtMost};
    let ns = |names: &[&str], of: fn(&crate::ns::Row) -> Spread| {
        let rows = report.ns.iter().flat_map(|ns| &ns.rows).filter(|row| names.contains(&row.scene.as_str()));
        rows.map(of).collect::<Vec<_>>()
    };
    let rate = |wanted: &dyn Fn(&Row) -> bool| {
        report.rates.iter().filter(|row| wanted(row)).map(|row| row.ratio).collect::<Vec<_>>()
    };
    let transport = |row: &Row| row.scene == "UDP" || row.scene == "TCP";
    let over = |subject: Subject, over: Subject| {
        rate(&|row| row.subject == subject && row.over == over.to_string() && row.cpus == 1 && transport(row))
    };
    let ordinary = |subject: Subject, many: bool| {
        rate(&|row| row.subject == subject && row.scene.ends_with("destinations") == many)
    };
    let latency = report.load.iter().filter(|row| row.subject == Subject::Xlat).map(|row| row.median_over).collect();
    let million = report.control.as_ref().and_then(|control| control.rows.iter().find(|row| row.eams == 1_000_000));
    let control = |of: fn(&crate::control::Row) -> Spread| million.map(of).into_iter().collect::<Vec<_>>();
    let beyond = report.control.as_ref().and_then(|control| control.beyond.as_ref());
    let mut all = vec![
        target(
            "ns per packet, UDP and TCP, both ways, over bare XDP_TX",
            AtMost(2.5),
            ns(&["UDP", "TCP"], |row| row.over_transmit),
        ),
        target(
            "the same, 6→4 to 65,536 clients, over one client",
            AtMost(1.5),
            ns(&["UDP, 65,536 clients"], |row| row.over_plain),
        ),
        target(
            "the same, 1,000,000 EAMs uniform: more than one EAM, in reads of memory",
            AtMost(1.3),
            ns(&["1,000,000 EAMs, uniform"], |row| row.reads_more),
        ),
        target("packets/s over bare XDP_TX, one arm", AtLeast(0.8), over(Subject::XlatOneArm, Subject::Transmit)),
        target("packets/s over bare redirect, two arms", AtLeast(0.8), over(Subject::Xlat, Subject::Redirect)),
        target(
            "packets/s over Linux IPv6 forwarding, two arms",
            AtLeast(4.0),
            rate(&|row| {
                row.subject == Subject::Xlat
                    && row.over == Subject::Linux.to_string()
                    && row.way == "6→4"
                    && transport(row)
            }),
        ),
        target("packets/s over TAYGA", AtLeast(15.0), over(Subject::Xlat, Subject::Tayga)),
        target(
            "flood of untranslatable packets over bare XDP_DROP",
            AtLeast(0.8),
            rate(&|row| row.scene == "untranslatable"),
        ),
        target("two CPUs over one", AtLeast(1.8), rate(&|row| row.cpus == 2)),
        target(
            "ordinary traffic with xlat attached, over without",
            AtLeast(0.95),
            ordinary(Subject::LinuxWithXlat, false),
        ),
        target("the same, 1,000 destinations", AtLeast(0.95), ordinary(Subject::LinuxWithXlat, true)),
        target("the same, kernel_errors = false", AtLeast(0.95), ordinary(Subject::LinuxWithoutRules, false)),
        target("… and 1,000 destinations", AtLeast(0.95), ordinary(Subject::LinuxWithoutRules, true)),
        target("median latency at half of the zero-loss load, over bare redirect", AtMost(1.2), latency),
        target("filling 1,000,000 EAMs into the data plane, s", AtMost(0.3), control(|row| row.filling)),
        target("tables of 1,000,000 EAMs, MiB", AtMost(160.0), control(|row| Spread::of([row.tables]))),
        target("metrics page with 1,000,000 EAMs, ms", AtMost(50.0), control(|row| row.scrape)),
        target("cold start to translating with 1,000,000 EAMs, s", AtMost(3.0), control(|row| row.cold_start)),
        target("apply of 1,000 differences to 1,000,000 EAMs, s", AtMost(2.0), control(|row| row.apply_differences)),
        target(
            "eam add to 1,000,000 EAMs, 99th percentile, ms",
            AtMost(10.0),
            control(|row| Spread::of([row.add_p99])),
        ),
        target(
            "memory of the daemon with 1,000,000 EAMs, at most, MiB",
            AtMost(400.0),
            control(|row| Spread::of([row.peak])),
        ),
        target(
            "the same while 1,000 differences are applied",
            AtMost(400.0),
            million
                .filter(|row| row.peak_of_differences > 0.0)
                .map(|row| Spread::of([row.peak_of_differences]))
                .into_iter()
                .collect(),
        ),
    ];
    all.push(Target {
        what: "10,000,000 EAMs load and translate",
        wanted: "yes".to_owned(),
        measured: beyond.map(|beyond| Spread::of([f64::from(u8::from(beyond.translates))])),
        reached: beyond.is_some_and(|beyond| beyond.translates),
    });
    all
}

fn target(what: &'static str, bound: Bound, measured: Vec<Spread>) -> Target {
    let (wanted, worst) = match bound {
        Bound::AtMost(most) => (format!("≤ {most}"), measured.into_iter().max_by(|a, b| a.median.total_cmp(&b.median))),
        Bound::AtLeast(least) => {
            (format!("≥ {least}"), measured.into_iter().min_by(|a, b| a.median.total_cmp(&b.median)))
        }
    };
    let reached = worst.is_some_and(|worst| match bound {
        Bound::AtMost(most) => worst.median <= most,
        Bound::AtLeast(least) => worst.median >= least,
    });
    Target { what, wanted, measured: worst, reached }
}

impl Target {
    /// What was measured, in words.
    pub(crate) fn measured(&self) -> String {
        match self.measured {
            None => "not measured".to_owned(),
            Some(measured) if self.wanted == "yes" => if measured.median > 0.0 { "yes" } else { "no" }.to_owned(),
            Some(measured) if measured.min == measured.max => format!("{:.2}", measured.median),
            Some(measured) => format!("{measured:.2}"),
        }
    }

    /// Whether it is reached, in words.
    pub(crate) fn verdict(&self) -> &'static str {
        match (self.measured, self.reached) {
            (None, _) => "–",
            (_, true) => "reached",
            (_, false) => "not reached",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_scene_decides() {
        let spreads = || vec![Spread::of([2.0]), Spread::of([2.6])];
        assert!(!target("ns", Bound::AtMost(2.5), spreads()).reached);
        assert!(target("ns", Bound::AtMost(2.6), spreads()).reached);
        assert!(target("rate", Bound::AtLeast(2.0), spreads()).reached);
        assert!(!target("rate", Bound::AtLeast(2.1), spreads()).reached);
    }

    #[test]
    fn what_is_not_measured_is_not_reached() {
        let report = Report::default();
        assert!(targets(&report).iter().all(|target| !target.reached && target.measured() == "not measured"));
    }
}
