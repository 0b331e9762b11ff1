//! What is sent: the scenes of the bench, one difference from each to the next.

use std::fmt;

/// Bytes of an Ethernet frame's checksum, which is in a frame's size but not in what XDP sees.
pub(crate) const FCS: u32 = 4;
/// Bytes that an IPv6 header is longer than an IPv4 header.
pub(crate) const GROWTH: u32 = 20;

/// Which way a packet is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From an IPv4 client to a service.
    FourToSix,
    /// From a service to an IPv4 client.
    SixToFour,
}

impl Way {
    /// Both.
    pub(crate) const BOTH: [Self; 2] = [Self::FourToSix, Self::SixToFour];
}

impl fmt::Display for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::FourToSix => "4→6",
            Self::SixToFour => "6→4",
        })
    }
}

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A UDP datagram with its checksum.
    Udp,
    /// A TCP segment.
    Tcp,
    /// An ICMP echo request.
    Echo,
    /// A UDP datagram over IPv4 without a checksum.
    UdpZero,
    /// A fragment that is not the first.
    Fragment,
    /// Port Unreachable about a UDP datagram.
    IcmpError,
    /// An ICMP message that has no translation.
    Untranslatable,
    /// A UDP datagram from or to an address in the deny list.
    Denied,
    /// A packet that says it is longer than its frame.
    Malformed,
    /// A UDP datagram whose hop limit ends here.
    Expired,
    /// A UDP datagram in no scope, which is routed on as it is.
    Ordinary,
}

impl Kind {
    /// What the program has XDP do with it, a relay's route and neighbour being known.
    #[must_use]
    pub(crate) const fn verdict(self) -> &'static str {
        match self {
            Self::Udp | Self::Tcp | Self::Echo | Self::UdpZero | Self::Fragment | Self::IcmpError => "redirect",
            Self::Untranslatable | Self::Denied | Self::Malformed | Self::Expired => "drop",
            Self::Ordinary => "pass",
        }
    }

    /// In a few letters.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Echo => "echo",
            Self::UdpZero => "UDP without checksum",
            Self::Fragment => "fragment",
            Self::IcmpError => "ICMP error",
            Self::Untranslatable => "untranslatable",
            Self::Denied => "denied",
            Self::Malformed => "malformed",
            Self::Expired => "hop limit ends",
            Self::Ordinary => "not to be translated",
        }
    }
}

/// Frame sizes that packets a second are measured with, beside the usual 128: those of RFC 2544 9.1, and what one page holds.
pub(crate) const SIZES: [u32; 7] = [64, 256, 512, 1024, 1280, 1518, 3000];

/// How long the frames are: an IPv4 frame's size with its checksum. An IPv6 frame has 20 bytes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// All of this size.
    Fixed(u32),
    /// Seven of 64, four of 594, one of 1518 bytes.
    Imix,
}

impl Size {
    /// The sizes there are, one for each of twelve packets.
    #[must_use]
    pub(crate) fn mix(self) -> Vec<u32> {
        match self {
            Self::Fixed(size) => vec![size],
            Self::Imix => vec![64, 594, 64, 64, 594, 64, 1518, 64, 594, 64, 64, 594],
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => formatter.pad(&size.to_string()),
            Self::Imix => formatter.pad("IMIX"),
        }
    }
}

/// Which of several addresses a packet has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Draw {
    /// Always the first.
    First,
    /// Each as likely as any other.
    Uniform,
    /// The n-th with a probability that falls as 1/n.
    Zipf,
}

/// The look-up table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Table {
    /// Number of EAMs.
    pub(crate) eams: u32,
    /// Number of distinct prefix lengths among them.
    pub(crate) lengths: u32,
}

impl Table {
    /// One EAM of two whole addresses.
    pub(crate) const ONE: Self = Self { eams: 1, lengths: 1 };
}

/// One scene.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    /// What tells it from the plainest.
    pub(crate) name: String,
    /// Its packets' way.
    pub(crate) way: Way,
    /// Its packets.
    pub(crate) kind: Kind,
    /// Their length.
    pub(crate) size: Size,
    /// The table.
    pub(crate) table: Table,
    /// How services are drawn.
    pub(crate) services: Draw,
    /// How many IPv4 clients there are.
    pub(crate) clients: u32,
}

impl Scene {
    /// The plainest: one service, one client, short packets.
    #[must_use]
    pub(crate) fn plain(way: Way, kind: Kind) -> Self {
        Self {
            name: kind.name().to_owned(),
            way,
            kind,
            size: Size::Fixed(128),
            table: Table::ONE,
            services: Draw::First,
            clients: 1,
        }
    }

    /// With the way before the name.
    #[must_use]
    pub(crate) fn full_name(&self) -> String {
        format!("{} {}", self.way, self.name)
    }

    /// With frames of another length, which is not worth telling.
    #[must_use]
    pub(crate) fn of_size(self, size: Size) -> Self {
        Self { size, ..self }
    }

    /// With frames of another length.
    #[must_use]
    pub(crate) fn sized(self, size: Size) -> Self {
        Self { name: format!("{}, {size} bytes", self.name).replace("IMIX bytes", "IMIX"), size, ..self }
    }

    /// With another table, and services drawn in another way.
    #[must_use]
    pub(crate) fn among(self, table: Table, services: Draw) -> Self {
        let drawn = match services {
            Draw::First => "",
            Draw::Uniform => ", uniform",
            Draw::Zipf => ", Zipf",
        };
        let lengths = if table.lengths == 1 { String::new() } else { format!(", {} prefix lengths", table.lengths) };
        Self { name: format!("{} EAMs{drawn}{lengths}", thousands(table.eams)), table, services, ..self }
    }

    /// From or to another number of clients.
    #[must_use]
    pub(crate) fn with_clients(self, clients: u32) -> Self {
        Self { name: format!("{}, {} clients", self.name, thousands(clients)), clients, ..self }
    }

    /// To another number of addresses, those that the way has many of.
    #[must_use]
    pub(crate) fn with_destinations(self, destinations: u32) -> Self {
        let name = format!("{}, {} destinations", self.name, thousands(destinations));
        match self.way {
            Way::FourToSix => {
                Self { name, table: Table { eams: destinations, lengths: 1 }, services: Draw::Uniform, ..self }
            }
            Way::SixToFour => Self { name, clients: destinations, ..self },
        }
    }
}

/// A number with commas.
#[must_use]
pub(crate) fn thousands(number: u32) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|g| std::str::from_utf8(g).unwrap_or("")).collect();
    groups.join(",")
}

/// The scenes of which the time of one packet is measured; `quick`: those that the targets speak of.
#[must_use]
pub(crate) fn for_one_packet(quick: bool) -> Vec<Scene> {
    let mut scenes = Vec::new();
    for way in Way::BOTH {
        if quick {
            let udp = || Scene::plain(way, Kind::Udp);
            let large = Table { eams: 1_000_000, lengths: 1 };
            scenes.extend([Kind::Udp, Kind::Tcp, Kind::Echo].map(|kind| Scene::plain(way, kind)));
            scenes.extend([udp().with_clients(65_536), udp().among(large, Draw::Uniform)]);
            scenes.extend([Kind::Untranslatable, Kind::Denied, Kind::Malformed].map(|kind| Scene::plain(way, kind)));
            continue;
        }
        scenes.extend([Kind::Udp, Kind::Tcp, Kind::Echo].map(|kind| Scene::plain(way, kind)));
        scenes.extend([64, 512, 1518, 9000].map(|size| Scene::plain(way, Kind::Udp).sized(Size::Fixed(size))));
        scenes.push(Scene::plain(way, Kind::Udp).sized(Size::Imix));
        scenes.push(Scene::plain(way, Kind::Udp).with_clients(65_536));
        for eams in [1_000, 100_000, 1_000_000] {
            let table = Table { eams, lengths: 1 };
            scenes.extend([Draw::Uniform, Draw::Zipf].map(|draw| Scene::plain(way, Kind::Udp).among(table, draw)));
        }
        for lengths in [2, 4] {
            let table = Table { eams: 1_000, lengths };
            scenes.push(Scene::plain(way, Kind::Udp).among(table, Draw::Uniform));
        }
        if way == Way::FourToSix {
            scenes.push(Scene::plain(way, Kind::UdpZero));
        }
        let rare = [Kind::Fragment, Kind::IcmpError, Kind::Untranslatable, Kind::Denied, Kind::Malformed];
        scenes.extend(rare.map(|kind| Scene::plain(way, kind)));
        scenes.push(Scene::plain(way, Kind::Expired));
        scenes.push(Scene::plain(way, Kind::Ordinary));
    }
    // Their headers are longer.
    let long = |scene: &Scene| matches!(scene.kind, Kind::Fragment | Kind::IcmpError);
    scenes.into_iter().map(|scene| if long(&scene) { scene.of_size(Size::Fixed(256)) } else { scene }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_from_the_right() {
        assert_eq!(thousands(1), "1");
        assert_eq!(thousands(65_536), "65,536");
        assert_eq!(thousands(1_000_000), "1,000,000");
    }

    #[test]
    fn no_two_scenes_are_told_alike() {
        let mut names: Vec<String> = for_one_packet(false).iter().map(Scene::full_name).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
