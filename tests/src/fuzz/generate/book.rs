//! Addresses that some rule is about, and some that none is about.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::fuzz::random::Random;
use crate::reference::Config;
use crate::reference::address::embed;

const ILLEGAL4: [&str; 9] = [
    "0.0.0.0",
    "0.1.2.3",
    "127.0.0.1",
    "169.254.7.7",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "169.254.0.1",
];
const ILLEGAL6: [&str; 6] = ["::", "::1", "fe80::1", "febf::1", "ff02::1", "ff0e::1234"];
/// On both sides of every border of the ranges that are not global.
const BORDERS4: [&str; 22] = [
    "9.255.255.255",
    "10.0.0.0",
    "11.0.0.0",
    "100.63.255.255",
    "100.64.0.0",
    "100.128.0.0",
    "172.15.255.255",
    "172.16.0.0",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.0.1",
    "192.0.1.0",
    "192.0.2.77",
    "192.168.0.1",
    "192.169.0.1",
    "198.17.255.255",
    "198.18.0.0",
    "198.20.0.0",
    "198.51.100.99",
    "203.0.113.3",
    "223.255.255.255",
    "128.0.0.1",
];

/// An IPv4 address.
pub(super) fn ipv4(random: &mut Random, config: &Config) -> Ipv4Addr {
    let parse = |text: &str| text.parse().expect("an IPv4 address in a table");
    match random.below(1000) {
        n if n < 480 && !config.eams.is_empty() => eam4(random, config),
        n if n < 520 && !config.deny4.is_empty() => {
            let net = random.pick(&config.deny4);
            Ipv4Addr::from(u32::from(net.network()) | random.double_word() & u32::from(net.hostmask()))
        }
        n if n < 550 && !config.own4.is_empty() => random.pick(&config.own4),
        n if n < 590 => parse(random.pick(&ILLEGAL4)),
        n if n < 660 => parse(random.pick(&BORDERS4)),
        n if n < 760 && !config.routes.is_empty() => match random.pick(&config.routes).destination {
            ipnet::IpNet::V4(net) if net.prefix_len() > 0 => {
                Ipv4Addr::from(u32::from(net.network()) | random.double_word() & u32::from(net.hostmask()))
            }
            _ => Ipv4Addr::from(0x0808_0800 | random.double_word() & 0xff),
        },
        n if n < 950 => Ipv4Addr::from(0x0808_0800 | random.double_word() & 0x7ff),
        _ => Ipv4Addr::from(random.double_word()),
    }
}

fn eam4(random: &mut Random, config: &Config) -> Ipv4Addr {
    let net = random.pick(&config.eams).ipv4;
    Ipv4Addr::from(u32::from(net.network()) | random.double_word() & u32::from(net.hostmask()))
}

fn within6(random: &mut Random, net: ipnet::Ipv6Net) -> Ipv6Addr {
    let host = u128::from(random.bits()) << 64 | u128::from(random.bits());
    let host = match random.below(4) {
        0 => host,
        1 => host & 0xff,
        2 => host & !0u128 << 64,
        _ => 0,
    };
    Ipv6Addr::from(u128::from(net.network()) | host & u128::from(net.hostmask()))
}

/// An IPv6 address.
pub(super) fn ipv6(random: &mut Random, config: &Config) -> Ipv6Addr {
    match random.below(1000) {
        n if n < 350 && !config.eams.is_empty() => {
            let net = random.pick(&config.eams).ipv6;
            within6(random, net)
        }
        n if n < 800 && !config.prefixes.is_empty() => {
            let prefix = random.pick(&config.prefixes);
            let address = embed(prefix, ipv4(random, config));
            if random.percent(10) && prefix.prefix_len() < 96 {
                // Octet u and the suffix are ignored whatever they hold.
                let noise = u128::from(random.bits()) & u128::MAX >> (usize::from(prefix.prefix_len()) + 32 + 8);
                Ipv6Addr::from(u128::from(address) | noise | u128::from(random.byte()) << 56)
            } else {
                address
            }
        }
        n if n < 840 && !config.deny6.is_empty() => {
            let net = random.pick(&config.deny6);
            within6(random, net)
        }
        n if n < 860 && !config.own6.is_empty() => random.pick(&config.own6),
        n if n < 890 => random.pick(&ILLEGAL6).parse().expect("an IPv6 address in a table"),
        n if n < 980 => Ipv6Addr::from(0x2001_0db8_ffff_0000_u128 << 64 | u128::from(random.bits() & 0xff)),
        _ => Ipv6Addr::from(u128::from(random.bits()) << 64 | u128::from(random.bits())),
    }
}
