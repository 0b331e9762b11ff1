//! The relays that are fuzzed: one setting or shape of mapping after the other, all of them on the machine of
//! [`world`].

use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::harness::world;
use crate::reference::{Arrival, Config, Eam, FlowLabel, Hairpin, Route, Scope, UdpZeroChecksum};

/// A relay with a name.
#[derive(Clone, Debug)]
pub struct Named {
    /// What `--config` calls it.
    pub name: &'static str,
    /// The interface that IPv4 packets arrive by.
    pub arrival4: &'static str,
    /// The interface that IPv6 packets arrive by.
    pub arrival6: &'static str,
    /// Whether the program is loaded as on a kernel before Linux 5.18.
    pub single_buffer: bool,
    /// Its settings and the world around it.
    pub config: Config,
}

fn ipv4(text: &str) -> Ipv4Net {
    text.parse().expect("an IPv4 prefix in a table")
}

fn ipv6(text: &str) -> Ipv6Net {
    text.parse().expect("an IPv6 prefix in a table")
}

/// Hosts, equal suffixes, unequal ones, and longer matches inside shorter ones, behind every way out.
fn eams() -> Vec<Eam> {
    let eams = [
        ("192.0.2.1/32", "2001:db8:aaaa::/128"),
        ("192.0.2.2/32", "2001:db8:bbbb::b/128"),
        ("192.0.2.16/28", "2001:db8:cccc::/124"),
        ("192.0.2.128/26", "2001:db8:dddd::/64"),
        ("192.0.2.192/29", "2001:db8:eeee:8::/62"),
        ("192.0.2.200/32", "2001:db8:5e1:1::3f/128"),
        ("198.51.100.0/26", "2001:db8:5e1:1::/122"),
        ("198.51.100.5/32", "2001:db8:cccc::5/128"),
        ("198.51.100.64/28", "2001:db8:5e1:1280::/124"),
        ("198.51.100.80/28", "2001:db8:5e1:1400::/124"),
        ("198.51.100.96/28", "2001:db8:5e1:9000::/124"),
        ("198.51.100.112/29", "2001:db8:5e1:77::/64"),
        ("198.51.100.120/29", "2001:db8:5e1:dead::/125"),
        ("198.51.100.128/28", "2001:db8:5e1:8::/124"),
        ("198.51.100.144/29", "2001:db8:5e1:9::/64"),
        ("198.51.100.152/29", "2001:db8:5e1:10::/125"),
        ("203.0.113.32/28", "2001:db8:9000::/36"),
        ("203.0.113.72/29", "2001:db8:5e1:4::/125"),
        ("8.8.8.64/27", "2001:db8:5e1:3::/64"),
    ];
    let eam = |(v4, v6)| Eam { ipv4: ipv4(v4), ipv6: ipv6(v6), prefix: None };
    eams.into_iter().map(eam).collect()
}

/// The routes of [`world`]: those by its interfaces, the gateways, and what lies on a link but has no known neighbour.
fn routes() -> Vec<Route> {
    let net = |text: &str| text.parse::<IpNet>().expect("a prefix in a table");
    let host = |text: &str| IpNet::from(text.parse::<IpAddr>().expect("an address in a table"));
    let mut routes = Vec::new();
    for interface in world::INTERFACES {
        let ipv4 = address(interface.name).and_then(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        let mut route = |destination, forwards| routes.push(Route { destination, mtu: interface.mtu, ipv4, forwards });
        route(net(interface.destination), true);
        route(net(interface.address).trunc(), false);
        route(host(interface.gateway), true);
        // Nobody forwards to these, and no MTU is known: IPv4's broadcast, IPv6's subnet-router anycast address.
        let link = net(interface.address).trunc();
        let nobody = if link.addr().is_ipv4() { link.broadcast() } else { link.network() };
        routes.push(Route { destination: IpNet::from(nobody), mtu: u32::MAX, ipv4: None, forwards: false });
    }
    for (destination, mtu) in [
        ("203.0.113.192/27", 1500),
        ("2001:db8:5e1:77::/64", 1500),
        ("203.0.113.224/27", u32::MAX),
        ("2001:db8:5e1:dead::/64", u32::MAX),
    ] {
        let ipv4 = if destination == "203.0.113.192/27" { address("v4") } else { None };
        let ipv4 = ipv4.and_then(|address| if let IpAddr::V4(address) = address { Some(address) } else { None });
        routes.push(Route { destination: net(destination), mtu, ipv4, forwards: false });
    }
    routes
}

fn address(interface: &str) -> Option<IpAddr> {
    world::interface(interface).own_address().parse().ok()
}

fn base() -> Config {
    let mut own4 = Vec::new();
    let mut own6 = Vec::new();
    for interface in world::INTERFACES {
        match address(interface.name) {
            Some(IpAddr::V4(address)) => own4.push(address),
            Some(IpAddr::V6(address)) => own6.push(address),
            None => {}
        }
    }
    Config {
        eams: eams(),
        prefixes: vec![ipv6("2001:db8:6464::/96")],
        ipv4_pool: vec![ipv4("203.0.113.8/29")],
        own4,
        own6,
        arrival4: Arrival { mtu: 1500, address: address("v4"), prefix: None },
        arrival6: Arrival { mtu: 1500, address: address("v6"), prefix: None },
        routes: routes(),
        ..Config::default()
    }
}

fn with_prefix(prefix: &str) -> Config {
    Config { prefixes: vec![ipv6(prefix)], ..base() }
}

fn deny(config: Config) -> Config {
    Config {
        deny4: vec![
            ipv4("192.0.2.20/30"),
            ipv4("8.8.8.128/28"),
            ipv4("198.51.100.9/32"),
            ipv4("224.0.0.0/8"),
            ipv4("203.0.113.64/30"),
        ],
        deny6: vec![ipv6("2001:db8:5e1:1::10/124"), ipv6("2001:db8:ffff::80/121"), ipv6("2001:db8:6464::808:840/123")],
        ..config
    }
}

/// Three prefixes: for some EAMs, for the arrival interfaces, and for all else.
fn three_prefixes() -> Config {
    let mut config = base();
    config.prefixes = vec![ipv6("2001:db8:6464::/96"), ipv6("2001:db8:6500::/40"), ipv6("2001:db8:6600:1::/64")];
    config.eams[1].prefix = Some(1);
    config.eams[3].prefix = Some(0);
    config.eams[6].prefix = Some(1);
    config.eams[7].prefix = Some(1);
    config.eams[18].prefix = Some(1);
    config.arrival4.prefix = Some(2);
    config.arrival6.prefix = Some(2);
    config
}

/// Every relay.
#[must_use]
pub fn all() -> Vec<Named> {
    let well_known = with_prefix("64:ff9b::/96");
    let configs = [
        ("default", base()),
        ("deny", deny(base())),
        ("prefix-32", with_prefix("2001:dba::/32")),
        ("prefix-40", Config { scope: Scope::All, ..with_prefix("2001:dba:100::/40") }),
        ("prefix-48", with_prefix("2001:dba:122::/48")),
        ("prefix-56", Config { scope: Scope::All, ..with_prefix("2001:dba:122:300::/56") }),
        ("prefix-64", with_prefix("2001:dba:122:344::/64")),
        ("well-known", well_known.clone()),
        (
            "well-known-pool",
            Config { ipv6_pool: vec![ipv6("2001:db8:7777::/64"), ipv6("2001:db8:7778::8/128")], ..well_known.clone() },
        ),
        ("well-known-all", Config { scope: Scope::All, ..well_known.clone() }),
        ("well-known-lax", Config { well_known_prefix_strict: false, ..well_known }),
        ("no-prefix", Config { prefixes: vec![], ipv6_pool: vec![ipv6("2001:db8:7777::7/128")], ..base() }),
        ("no-prefix-no-pool", Config { prefixes: vec![], ..base() }),
        ("scope-all", deny(Config { scope: Scope::All, ..base() })),
        ("hairpin-simple", Config { hairpin: Hairpin::Simple, ..base() }),
        ("hairpin-simple-all", Config { hairpin: Hairpin::Simple, scope: Scope::All, ..base() }),
        ("hairpin-off", Config { hairpin: Hairpin::Off, ..base() }),
        ("three-prefixes", three_prefixes()),
        (
            "settings",
            Config {
                traffic_class: Some(0),
                tos: Some(0x28),
                udp_zero_checksum: UdpZeroChecksum::Compute,
                lowest_ipv6_mtu: 1400,
                interface_info: true,
                mtu_plateaus: vec![65535, 2000, 1492, 1300, 1280, 296],
                ..base()
            },
        ),
        ("flow-label", Config { flow_label: FlowLabel::Hash, traffic_class: Some(0xb8), ..base() }),
        ("strict", deny(Config { strict: true, ..base() })),
        ("errors-off", deny(Config { icmp_errors: false, ipv4_pool: vec![], ..base() })),
        ("no-pool", Config { ipv4_pool: vec![], interface_info: true, ..base() }),
        ("narrow", Config { scope: Scope::All, ..base() }),
        ("crossed", base()),
        ("jumbo", Config { lowest_ipv6_mtu: 9000, udp_zero_checksum: UdpZeroChecksum::Compute, ..base() }),
        (
            "single-buffer",
            Config {
                udp_zero_checksum: UdpZeroChecksum::Compute,
                interface_info: true,
                ipv4_pool: vec![],
                scope: Scope::All,
                ..base()
            },
        ),
    ];
    let named = |(name, mut config): (&'static str, Config)| {
        let (arrival4, arrival6) = match name {
            "narrow" => ("v6-1400", "v6-1280"),
            // Interfaces without an address of the family that arrives.
            "crossed" => ("v6", "v4"),
            "jumbo" => ("v4-9000", "v6-9000"),
            _ => ("v4", "v6"),
        };
        for (arrival, interface, first) in
            [(&mut config.arrival4, arrival4, "v4"), (&mut config.arrival6, arrival6, "v6")]
        {
            arrival.mtu = world::interface(interface).mtu;
            // An interface without an address of the family answers with the machine's first.
            let (own, other) = (address(interface), address(first));
            arrival.address = own.filter(|own| other.is_some_and(|other| own.is_ipv4() == other.is_ipv4())).or(other);
        }
        Named { name, arrival4, arrival6, single_buffer: name == "single-buffer", config }
    };
    configs.into_iter().map(named).collect()
}

impl Named {
    /// The configuration as an `xlat.toml`, for the real program.
    #[must_use]
    pub fn toml(&self) -> String {
        let Config { prefixes, eams, .. } = &self.config;
        let mut text = String::new();
        write_toml(&mut text, &self.config).expect("writing to a string");
        if self.single_buffer {
            // Drivers refuse such a program where a packet may take several buffers.
            text = text.replace("\"v?-*\"", "\"v?-1*\"");
        }
        for (index, prefix) in prefixes.iter().enumerate() {
            let nets: Vec<Ipv4Net> = eams.iter().filter(|eam| eam.prefix == Some(index)).map(|eam| eam.ipv4).collect();
            let of_arrival = self.config.arrival4.prefix == Some(index);
            let interfaces = if of_arrival { vec![self.arrival4, self.arrival6] } else { Vec::new() };
            if nets.is_empty() && interfaces.is_empty() {
                continue;
            }
            text.push_str(&format!("[[prefix_for]]\nprefix = \"{prefix}\"\n"));
            if !nets.is_empty() {
                text.push_str(&format!("ipv4 = {}\n", list(&nets)));
            }
            if !interfaces.is_empty() {
                text.push_str(&format!("interfaces = {}\n", list(&interfaces)));
            }
        }
        text
    }
}

/// A TOML list of strings.
fn list<T: ToString>(items: &[T]) -> String {
    format!("{:?}", items.iter().map(ToString::to_string).collect::<Vec<_>>())
}

fn write_toml(text: &mut String, config: &Config) -> std::fmt::Result {
    let octet = |value: Option<u8>| value.map_or_else(|| "\"copy\"".to_owned(), |value| value.to_string());
    let hairpin = match config.hairpin {
        Hairpin::Intrinsic => "intrinsic",
        Hairpin::Simple => "simple",
        Hairpin::Off => "off",
    };
    let udp_zero_checksum = match config.udp_zero_checksum {
        UdpZeroChecksum::Drop => "drop",
        UdpZeroChecksum::Compute => "compute",
    };
    let flow_label = match config.flow_label {
        FlowLabel::Zero => "zero",
        FlowLabel::Hash => "hash",
    };
    let scope = match config.scope {
        Scope::Eam => "eam",
        Scope::All => "all",
    };
    writeln!(text, "[dataplane]\ninterfaces = [\"v4\", \"v6\", \"v?-*\"]\nmax_eams = 64")?;
    writeln!(text, "[control]\ngroup = \"root\"")?;
    writeln!(text, "[translation]\nprefixes = {}", list(&config.prefixes))?;
    writeln!(text, "lowest_ipv6_mtu = {}\nhairpin = \"{hairpin}\"", config.lowest_ipv6_mtu)?;
    writeln!(text, "udp_zero_checksum = \"{udp_zero_checksum}\"\nflow_label = \"{flow_label}\"")?;
    writeln!(text, "traffic_class = {}\ntos = {}", octet(config.traffic_class), octet(config.tos))?;
    writeln!(text, "mtu_plateaus = {:?}\nscope = \"{scope}\"", config.mtu_plateaus)?;
    writeln!(text, "well_known_prefix_strict = {}", config.well_known_prefix_strict)?;
    writeln!(text, "strict = {}", config.strict)?;
    writeln!(text, "[icmp]\nerrors = \"{}\"", if config.icmp_errors { "on" } else { "off" })?;
    writeln!(text, "ipv4_pool = {}\nipv6_pool = {}", list(&config.ipv4_pool), list(&config.ipv6_pool))?;
    writeln!(text, "interface_info = {}", config.interface_info)?;
    writeln!(text, "[deny]\nipv4 = {}\nipv6 = {}", list(&config.deny4), list(&config.deny6))?;
    for eam in &config.eams {
        writeln!(text, "[[eam]]\nipv4 = \"{}\"\nipv6 = \"{}\"", eam.ipv4, eam.ipv6)?;
    }
    Ok(())
}
