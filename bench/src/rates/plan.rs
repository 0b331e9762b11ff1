//! What is measured of packets a second, and with what it is compared.

use super::Subject;
use crate::scene::{Draw, Kind, SIZES, Scene, Size, Table, Way};

/// What time a rate is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// That of the calls to the kernel, the first quartile: those that nothing else has interrupted. What is handled on the
    /// generator's CPU, between two batches, is done when the call is.
    Calls,
    /// All of it. Where several CPUs work at a time, one's undisturbed calls may be those in which the other stood still.
    Clock,
}

/// One thing that is measured.
pub(crate) struct Plan {
    pub(crate) scene: Scene,
    pub(crate) subject: Subject,
    /// What it is compared with.
    pub(crate) over: Subject,
    /// How many CPUs send; what it is compared with has one.
    pub(crate) cpus: usize,
}

impl Plan {
    /// The same for both that are compared.
    pub(super) fn time(&self) -> Over {
        if self.cpus > 1 || self.over == Subject::Tayga { Over::Clock } else { Over::Calls }
    }
}

/// What is measured; `quick`: what the targets speak of.
pub(crate) fn plans(quick: bool) -> Vec<Plan> {
    let mut plans = Vec::new();
    let mut add = |scene: &Scene, subjects: &[(Subject, Subject)]| {
        plans.extend(subjects.iter().map(|(subject, over)| Plan {
            scene: scene.clone(),
            subject: *subject,
            over: *over,
            cpus: 1,
        }));
    };
    let two_arms = (Subject::Xlat, Subject::Redirect);
    let one_arm = (Subject::XlatOneArm, Subject::Transmit);
    let others = [(Subject::Xlat, Subject::Linux), (Subject::Xlat, Subject::Tayga)];
    for way in Way::BOTH {
        let plain = |kind| Scene::plain(way, kind);
        for kind in [Kind::Udp, Kind::Tcp, Kind::Echo] {
            add(&plain(kind), &[two_arms, one_arm]);
            if kind == Kind::Udp || !quick {
                add(&plain(kind), &others);
            }
        }
        for kind in [Kind::Untranslatable, Kind::Denied, Kind::Malformed] {
            add(&plain(kind), &[(Subject::Xlat, Subject::Discard)]);
        }
        for scene in [plain(Kind::Ordinary), plain(Kind::Ordinary).with_destinations(1_000)] {
            add(&scene, &[(Subject::LinuxWithXlat, Subject::Linux), (Subject::LinuxWithoutRules, Subject::Linux)]);
        }
        let large = Table { eams: 1_000_000, lengths: 1 };
        add(&plain(Kind::Udp).among(large, Draw::Uniform), &[two_arms]);
        add(&plain(Kind::Udp).with_clients(65_536), &[two_arms]);
        if !quick {
            more(way, &mut |scene: &Scene, linux: bool| {
                add(scene, &[two_arms]);
                if linux {
                    add(scene, &others[..1]);
                }
            });
        }
    }
    for way in Way::BOTH {
        plans.push(Plan { scene: Scene::plain(way, Kind::Udp), subject: Subject::Xlat, over: Subject::Xlat, cpus: 2 });
    }
    plans
}

/// What only the long run measures.
fn more(way: Way, add: &mut impl FnMut(&Scene, bool)) {
    let udp = || Scene::plain(way, Kind::Udp);
    for size in SIZES.map(Size::Fixed).into_iter().chain([Size::Imix]) {
        add(&udp().sized(size), true);
    }
    for (eams, draw) in [
        (1_000, Draw::Uniform),
        (1_000, Draw::Zipf),
        (100_000, Draw::Uniform),
        (100_000, Draw::Zipf),
        (1_000_000, Draw::Zipf),
    ] {
        add(&udp().among(Table { eams, lengths: 1 }, draw), false);
    }
    for lengths in [2, 4] {
        add(&udp().among(Table { eams: 1_000, lengths }, Draw::Uniform), false);
    }
    if way == Way::FourToSix {
        add(&Scene::plain(way, Kind::UdpZero), false);
    }
    for kind in [Kind::Fragment, Kind::IcmpError] {
        add(&Scene::plain(way, kind).of_size(Size::Fixed(256)), false);
    }
}
