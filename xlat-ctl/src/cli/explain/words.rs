//! A packet out of words: `udp 203.0.113.7:4711 198.51.100.10:53 --size 1400 --df`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use clap::Args;
use etherparse::{
    IpFragOffset, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6FragmentHeader, Ipv6Header,
    PacketBuilder, PacketBuilderStep, err::packet::BuildWriteError,
};

/// Bytes of data where no size is asked for.
const DATA: usize = 16;
const PORTS: (u16, u16) = (4711, 53);
/// Ways to give a packet that has all of it already.
const OTHERWISE: [&str; 2] = ["hex", "pcap"];

/// What is said of the packet beside its addresses.
#[derive(Debug, Args)]
#[command(next_help_heading = "The packet in words")]
pub(super) struct Words {
    /// `udp`, `tcp`, `icmp` (an echo request; ICMPv6 between IPv6 addresses), or the number of another protocol
    #[arg(requires = "to", value_name = "PROTOCOL", display_order = 0, help_heading = "The packet")]
    pub(super) protocol: Option<String>,
    /// Where it comes from: ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT
    #[arg(display_order = 1, help_heading = "The packet")]
    from: Option<Endpoint>,
    /// Where it goes to
    #[arg(display_order = 2, help_heading = "The packet")]
    to: Option<Endpoint>,
    /// Bytes of the whole IP packet
    #[arg(conflicts_with_all = OTHERWISE, long, value_name = "BYTES")]
    size: Option<u16>,
    /// TTL or hop limit
    #[arg(conflicts_with_all = OTHERWISE, long, alias = "hop-limit", value_name = "N", default_value_t = 64)]
    ttl: u8,
    /// TOS or traffic class
    #[arg(conflicts_with_all = OTHERWISE, long, alias = "traffic-class", value_name = "N", default_value_t = 0)]
    tos: u8,
    /// IPv4: don't fragment
    #[arg(conflicts_with_all = OTHERWISE, long)]
    df: bool,
    /// A fragment that others follow
    #[arg(conflicts_with_all = OTHERWISE, long)]
    mf: bool,
    /// A fragment from this byte on, a multiple of 8
    #[arg(conflicts_with_all = OTHERWISE, long, value_name = "BYTES", default_value_t = 0)]
    offset: u16,
    /// Identification
    #[arg(conflicts_with_all = OTHERWISE, long, value_name = "N", default_value_t = 1)]
    id: u16,
    /// UDP without checksum
    #[arg(conflicts_with_all = OTHERWISE, long)]
    no_checksum: bool,
    /// TCP: flags, separated by commas
    #[arg(conflicts_with_all = OTHERWISE, long, value_name = "FLAGS", value_delimiter = ',', value_enum)]
    flags: Vec<Flag>,
    /// ICMP: another type than echo request
    #[arg(conflicts_with_all = OTHERWISE, long = "type", value_name = "N")]
    kind: Option<u8>,
    /// ICMP: the code
    #[arg(conflicts_with_all = OTHERWISE, long, value_name = "N", requires = "kind")]
    code: Option<u8>,
}

/// A flag of TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Flag {
    Fin,
    Syn,
    Rst,
    Psh,
    Ack,
}

/// An address with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Endpoint {
    address: IpAddr,
    port: Option<u16>,
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no address: give 192.0.2.1, 192.0.2.1:53, 2001:db8::1 or [2001:db8::1]:53");
        let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let alone = bracketed.map_or_else(|| text.parse().ok(), |text| text.parse().ok().map(IpAddr::V6));
        if let Some(address) = alone {
            return Ok(Self { address, port: None });
        }
        let socket: std::net::SocketAddr = text.parse().map_err(|_| wrong())?;
        Ok(Self { address: socket.ip(), port: Some(socket.port()) })
    }
}

impl Words {
    /// The packet, from its IP header on.
    ///
    /// # Errors
    /// Words that contradict each other.
    pub(super) fn packet(&self) -> Result<Vec<u8>, String> {
        let (Some(protocol), Some(from), Some(to)) = (&self.protocol, self.from, self.to) else {
            return Err("give a packet: PROTOCOL FROM TO, --hex or --pcap".to_owned());
        };
        if !self.offset.is_multiple_of(8) {
            return Err(format!("--offset {}: fragments begin at a multiple of 8 bytes", self.offset));
        }
        let ip = self.ip(from.address, to.address)?;
        let ports = (from.port.unwrap_or(PORTS.0), to.port.unwrap_or(PORTS.1));
        let is_ipv4 = from.address.is_ipv4();
        let number = match (protocol.to_ascii_lowercase().as_str(), is_ipv4) {
            ("udp", _) => IpNumber::UDP,
            ("tcp", _) => IpNumber::TCP,
            ("icmp" | "icmpv6" | "icmp6" | "ping", false) => IpNumber::IPV6_ICMP,
            ("icmp" | "ping", true) => IpNumber::ICMP,
            (other, _) => IpNumber(
                other
                    .parse()
                    .map_err(|_| format!("`{other}` is no protocol: give udp, tcp, icmp or a number from 0 to 255"))?,
            ),
        };
        self.expect_fitting(number, from.port.or(to.port))?;
        let mut packet = if self.offset > 0 { self.raw(&ip, number)? } else { self.upper_layer(&ip, number, ports)? };
        if self.no_checksum && self.offset == 0 {
            let at = ip.header_len() + 6;
            packet[at..at + 2].fill(0);
        }
        Ok(packet)
    }

    /// What only some protocols have.
    fn expect_fitting(&self, number: IpNumber, port: Option<u16>) -> Result<(), String> {
        let is_icmp = matches!(number, IpNumber::ICMP | IpNumber::IPV6_ICMP);
        if number != IpNumber::UDP && self.no_checksum {
            return Err("--no-checksum: only UDP can be without".to_owned());
        }
        if number != IpNumber::TCP && !self.flags.is_empty() {
            return Err("--flags: only TCP has them".to_owned());
        }
        if !is_icmp && self.kind.is_some() {
            return Err("--type: only ICMP has one".to_owned());
        }
        match port {
            Some(port) if !matches!(number, IpNumber::UDP | IpNumber::TCP) => {
                Err(format!("port {port}: only udp and tcp are made with ports"))
            }
            _ => Ok(()),
        }
    }

    fn ip(&self, from: IpAddr, to: IpAddr) -> Result<IpHeaders, String> {
        let is_fragment = self.mf || self.offset > 0;
        let fragment_offset = IpFragOffset::try_new(self.offset / 8).map_err(|error| format!("--offset: {error}"))?;
        match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                Ok(IpHeaders::Ipv4(self.ipv4(from, to, fragment_offset), Ipv4Extensions::default()))
            }
            (IpAddr::V6(_), IpAddr::V6(_)) if self.df => {
                Err("--df: IPv6 has no such flag, as no router fragments its packets".to_owned())
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let fragment = is_fragment
                    .then(|| Ipv6FragmentHeader::new(IpNumber::UDP, fragment_offset, self.mf, self.id.into()));
                let extensions = Ipv6Extensions { fragment, ..Ipv6Extensions::default() };
                Ok(IpHeaders::Ipv6(self.ipv6(from, to), extensions))
            }
            _ => Err(format!("{from} and {to} are of different families: give both as they stand in the packet")),
        }
    }

    fn ipv4(&self, from: Ipv4Addr, to: Ipv4Addr, fragment_offset: IpFragOffset) -> Ipv4Header {
        let (dscp, ecn) = (self.tos >> 2, self.tos & 3);
        Ipv4Header {
            dscp: etherparse::IpDscp::try_new(dscp).unwrap_or_default(),
            ecn: etherparse::IpEcn::try_new(ecn).unwrap_or_default(),
            identification: self.id,
            dont_fragment: self.df,
            more_fragments: self.mf,
            fragment_offset,
            time_to_live: self.ttl,
            source: from.octets(),
            destination: to.octets(),
            ..Ipv4Header::default()
        }
    }

    fn ipv6(&self, from: Ipv6Addr, to: Ipv6Addr) -> Ipv6Header {
        Ipv6Header {
            traffic_class: self.tos,
            hop_limit: self.ttl,
            source: from.octets(),
            destination: to.octets(),
            ..Ipv6Header::default()
        }
    }

    /// Without a transport header.
    fn raw(&self, ip: &IpHeaders, number: IpNumber) -> Result<Vec<u8>, String> {
        let mut packet = Vec::new();
        let data = self.data(ip, 0)?;
        PacketBuilder::ip(ip.clone()).write(&mut packet, number, &data).map_err(|error| cannot(&error))?;
        Ok(packet)
    }

    fn upper_layer(&self, ip: &IpHeaders, number: IpNumber, (from, to): (u16, u16)) -> Result<Vec<u8>, String> {
        let step = PacketBuilder::ip(ip.clone());
        match number {
            IpNumber::UDP => self.write(ip, step.udp(from, to)),
            IpNumber::TCP => {
                let mut step = step.tcp(from, to, 1, 65_535);
                for flag in if self.flags.is_empty() { &[Flag::Syn][..] } else { &self.flags } {
                    step = match flag {
                        Flag::Fin => step.fin(),
                        Flag::Syn => step.syn(),
                        Flag::Rst => step.rst(),
                        Flag::Psh => step.psh(),
                        Flag::Ack => step.ack(1),
                    };
                }
                self.write(ip, step)
            }
            IpNumber::ICMP => match self.kind {
                Some(kind) => self.write(ip, step.icmpv4_raw(kind, self.code.unwrap_or(0), [0; 4])),
                None => self.write(ip, step.icmpv4_echo_request(1, 1)),
            },
            IpNumber::IPV6_ICMP if matches!(ip, IpHeaders::Ipv6(..)) => match self.kind {
                Some(kind) => self.write(ip, step.icmpv6_raw(kind, self.code.unwrap_or(0), [0; 4])),
                None => self.write(ip, step.icmpv6_echo_request(1, 1)),
            },
            _ => self.raw(ip, number),
        }
    }

    fn write<L>(&self, ip: &IpHeaders, step: PacketBuilderStep<L>) -> Result<Vec<u8>, String>
    where
        PacketBuilderStep<L>: Write,
    {
        let headers = step.headers_len() - ip.header_len();
        let mut packet = Vec::new();
        step.write_to(&mut packet, &self.data(ip, headers)?).map_err(|error| cannot(&error))?;
        Ok(packet)
    }

    /// What follows the headers: bytes that count up.
    fn data(&self, ip: &IpHeaders, headers: usize) -> Result<Vec<u8>, String> {
        let least = ip.header_len() + headers;
        let length = match self.size.map(usize::from) {
            None => DATA,
            Some(size) if size >= least => size - least,
            Some(size) => return Err(format!("--size {size}: the headers alone have {least} bytes")),
        };
        Ok((0..length).map(|byte| byte as u8).collect())
    }
}

fn cannot(error: &BuildWriteError) -> String {
    format!("there is no such packet: {error}")
}

/// What the builder's steps with a transport header have in common.
trait Write {
    fn headers_len(&self) -> usize;
    fn write_to(self, packet: &mut Vec<u8>, data: &[u8]) -> Result<(), BuildWriteError>;
}

macro_rules! write_of {
    ($($step:ty),*) => {
        $(impl Write for PacketBuilderStep<$step> {
            fn headers_len(&self) -> usize {
                self.size(0)
            }

            fn write_to(self, packet: &mut Vec<u8>, data: &[u8]) -> Result<(), BuildWriteError> {
                self.write(packet, data)
            }
        })*
    };
}
write_of!(etherparse::UdpHeader, etherparse::TcpHeader, etherparse::Icmpv4Header, etherparse::Icmpv6Header);
