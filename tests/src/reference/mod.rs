//! A second translator, for tests only: slow, plain, written from the RFC texts and `docs/translation.md` with ordinary
//! library types. It shares no code with the program under test, so that the two can disagree.
//!
//! [`translate`] answers for one packet what the relay does with it; [`same`] compares that with what the real program did,
//! and knows which values the program may choose freely.

pub mod address;
pub mod checksum;
mod compare;
mod four_to_six;
mod icmp_error;
pub mod packet;
mod refusal;
mod six_to_four;
#[cfg(test)]
mod tests;
mod transport;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

pub use self::compare::same;

/// One explicit address mapping (RFC 7757 section 3.2).
#[derive(Clone, Debug)]
pub struct Eam {
    /// The IPv4 prefix.
    pub ipv4: Ipv4Net,
    /// The IPv6 prefix, with at least as many suffix bits.
    pub ipv6: Ipv6Net,
    /// The translation prefix assigned to it (`[[prefix_for]]`), an index in [`Config::prefixes`].
    pub prefix: Option<usize>,
}

/// Setting `hairpin` (RFC 7757 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hairpin {
    /// Section 4.2.2.
    Intrinsic,
    /// Section 4.2.1.
    Simple,
    /// Neither.
    Off,
}

/// Setting `udp_zero_checksum` (RFC 7915 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpZeroChecksum {
    /// Drop the packet.
    Drop,
    /// Compute the checksum that IPv6 wants.
    Compute,
}

/// Setting `flow_label`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowLabel {
    /// 0 (RFC 7915 section 4.1).
    Zero,
    /// A hash of the flow (RFC 6438); any value is accepted.
    Hash,
}

/// Setting `scope`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One address of the packet at least matches an EAM.
    Eam,
    /// The translation prefix alone will do.
    All,
}

/// The interface that packets of one family arrive by.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its address of that family, the source of ICMP errors of the relay's own.
    pub address: Option<IpAddr>,
    /// The translation prefix of this interface, an index in [`Config::prefixes`].
    pub prefix: Option<usize>,
}

impl Arrival {
    const ETHERNET: Self = Self { mtu: 1500, address: None, prefix: None };

    fn ipv4(&self) -> Option<Ipv4Addr> {
        match self.address? {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    }

    fn ipv6(&self) -> Option<Ipv6Addr> {
        match self.address? {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(address),
        }
    }
}

/// What the routing table says about a translated destination.
#[derive(Clone, Debug)]
pub struct Route {
    /// The destinations that it is for.
    pub destination: IpNet,
    /// The next hop's MTU in bytes.
    pub mtu: u32,
    /// The IPv4 address of the interface it leaves by.
    pub ipv4: Option<Ipv4Addr>,
    /// Whether the program can forward by itself; if not, the translated packet goes up to the kernel.
    pub forwards: bool,
}

/// The relay's settings and the world around it.
#[derive(Clone, Debug)]
pub struct Config {
    /// The EAM table.
    pub eams: Vec<Eam>,
    /// The translation prefixes.
    pub prefixes: Vec<Ipv6Net>,
    /// `lowest_ipv6_mtu`, in bytes.
    pub lowest_ipv6_mtu: u32,
    /// `hairpin`.
    pub hairpin: Hairpin,
    /// `udp_zero_checksum`.
    pub udp_zero_checksum: UdpZeroChecksum,
    /// `traffic_class`: nothing copies the TOS.
    pub traffic_class: Option<u8>,
    /// `tos`: nothing copies the traffic class.
    pub tos: Option<u8>,
    /// `flow_label`.
    pub flow_label: FlowLabel,
    /// `mtu_plateaus`, in bytes, in any order.
    pub mtu_plateaus: Vec<u16>,
    /// `scope`.
    pub scope: Scope,
    /// `well_known_prefix_strict`.
    pub well_known_prefix_strict: bool,
    /// `strict`.
    pub strict: bool,
    /// `[icmp] errors` is `on`.
    pub icmp_errors: bool,
    /// `[icmp] ipv4_pool`.
    pub ipv4_pool: Vec<Ipv4Net>,
    /// `[icmp] ipv6_pool`.
    pub ipv6_pool: Vec<Ipv6Net>,
    /// `[icmp] interface_info`.
    pub interface_info: bool,
    /// `[deny] ipv4`.
    pub deny4: Vec<Ipv4Net>,
    /// `[deny] ipv6`.
    pub deny6: Vec<Ipv6Net>,
    /// The machine's own IPv4 addresses.
    pub own4: Vec<Ipv4Addr>,
    /// The machine's own IPv6 addresses.
    pub own6: Vec<Ipv6Addr>,
    /// The interface that IPv4 packets arrive by.
    pub arrival4: Arrival,
    /// The interface that IPv6 packets arrive by.
    pub arrival6: Arrival,
    /// The routing table; the longest match wins, and without one the kernel gets the translated packet.
    pub routes: Vec<Route>,
}

impl Default for Config {
    /// The defaults of the example file, no mapping, no route, Ethernet's MTU.
    fn default() -> Self {
        Self {
            eams: Vec::new(),
            prefixes: Vec::new(),
            lowest_ipv6_mtu: 1280,
            hairpin: Hairpin::Intrinsic,
            udp_zero_checksum: UdpZeroChecksum::Drop,
            traffic_class: None,
            tos: None,
            flow_label: FlowLabel::Zero,
            mtu_plateaus: vec![65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68],
            scope: Scope::Eam,
            well_known_prefix_strict: true,
            strict: false,
            icmp_errors: true,
            ipv4_pool: Vec::new(),
            ipv6_pool: Vec::new(),
            interface_info: false,
            deny4: Vec::new(),
            deny6: Vec::new(),
            own4: Vec::new(),
            own6: Vec::new(),
            arrival4: Arrival::ETHERNET,
            arrival6: Arrival::ETHERNET,
            routes: Vec::new(),
        }
    }
}

impl Config {
    /// The route of a translated destination.
    #[must_use]
    pub fn route(&self, destination: IpAddr) -> Option<&Route> {
        let matching = self.routes.iter().filter(|route| route.destination.contains(&destination));
        matching.max_by_key(|route| route.destination.prefix_len())
    }
}

/// The EtherType's word about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// 0x0800.
    Ipv4,
    /// 0x86dd.
    Ipv6,
}

/// A translated packet, and what in it the program may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translated {
    /// The packet from its IP header on.
    pub bytes: Vec<u8>,
    /// What may differ.
    pub free: Free,
}

/// Values that RFCs and settings leave to the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Free {
    /// The IPv4 Identification, from a generator (RFC 7915 section 5.1).
    pub identification: bool,
    /// The IPv6 flow label of the packet.
    pub flow_label: bool,
    /// The IPv6 flow label of the packet inside an ICMPv6 error.
    pub inner_flow_label: bool,
    /// The source may be any address of these; if there are none it is the one in the packet (RFC 6791).
    pub sources: Vec<IpNet>,
}

/// What becomes of a packet.
#[derive(Clone, PartialEq, Eq)]
pub enum Outcome {
    /// To the Linux stack as it came.
    Pass,
    /// Silently dropped for this reason.
    Drop(&'static str),
    /// Dropped for this reason and answered.
    Refuse {
        /// The reason's name in `docs/translation.md`.
        reason: &'static str,
        /// The answer from its IP header on.
        icmp: Vec<u8>,
    },
    /// Translated and forwarded.
    Translate(Translated),
    /// The original goes to the fragmenter.
    Fragment,
    /// Translated, hop limit not decremented, to the Linux stack.
    ToKernelTranslated(Translated),
}

impl fmt::Debug for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => write!(formatter, "Pass"),
            Self::Drop(reason) => write!(formatter, "Drop({reason})"),
            Self::Refuse { reason, icmp } => write!(formatter, "Refuse({reason}) {}", hex(icmp)),
            Self::Translate(packet) => write!(formatter, "Translate {}", hex(&packet.bytes)),
            Self::Fragment => write!(formatter, "Fragment"),
            Self::ToKernelTranslated(packet) => write!(formatter, "ToKernelTranslated {}", hex(&packet.bytes)),
        }
    }
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string");
        text
    })
}

/// Why a packet is not translated.
#[derive(Clone, Debug)]
enum Stop {
    Pass,
    Drop(&'static str),
    Refuse(&'static str, Answer),
    Fragment,
}

/// The ICMP error that a refused packet is answered with.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// 3/13 or 1/1.
    Prohibited,
    /// 11/0 or 3/0.
    TimeExceeded,
    /// 3/5.
    SourceRouteFailed,
    /// 4/0, the pointer in bytes from the IPv6 header on.
    ParameterProblem { pointer: u32 },
    /// 3/4 or 2/0, the MTU as the sender's family counts it.
    TooBig { mtu: u32 },
}

/// What the relay does with a packet given from its IP header on; bytes after the packet's own end may follow.
#[must_use]
pub fn translate(config: &Config, family: Family, packet: &[u8]) -> Outcome {
    let result = match family {
        Family::Ipv4 => four_to_six::arriving(config, packet),
        Family::Ipv6 => six_to_four::arriving(config, packet),
    };
    match result {
        Ok(outcome) => outcome,
        Err(Stop::Pass) => Outcome::Pass,
        Err(Stop::Drop(reason)) => Outcome::Drop(reason),
        Err(Stop::Fragment) => Outcome::Fragment,
        Err(Stop::Refuse(reason, answer)) => match refusal::answer(config, family, packet, answer) {
            Some(icmp) => Outcome::Refuse { reason, icmp },
            None => Outcome::Drop(reason),
        },
    }
}

/// A packet in no scope: routed by Linux, or dropped in strict mode unless it may be meant for the machine itself.
fn out_of_scope(config: &Config, for_the_machine: bool) -> Stop {
    if config.strict && !for_the_machine { Stop::Drop("out_of_scope") } else { Stop::Pass }
}
