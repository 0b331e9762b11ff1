//! A network of real machines around the real daemon, each a network namespace without a name: nothing is left behind, however
//! a test ends.
//!
//! ```text
//!  client          router4                    relay                      router6            server
//!  203.0.113.7 ── .1  198.18.0.1 ── inet4 .2  [xlat]  2001:db8:fe::1 inet6 ── ::2  5e1:1::1 ── 2001:db8:5e1:1::10
//!  IPv4 only                                                             no IPv4 mapping    IPv6 only
//! ```
//!
//! The server is 198.51.100.10 to the client, the client 2001:db8:6464::203.0.113.7 to the server.

mod browser;
mod capture;
mod daemon;
mod forward;
mod jool;
mod namespace;
mod pass;
mod patience;
mod proof;
mod stream;
mod tap;
mod traffic;

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    os::fd::OwnedFd,
};

use anyhow::Result;

pub use self::{
    browser::Browser,
    capture::{Capture, Captured, expect_no_fault, sound_packets, tshark, write_packets},
    daemon::{Daemon, command_path, other_layout_path},
    forward::forward,
    jool::Jool,
    namespace::{Namespace, Running, Said},
    patience::{SetAtEnd, best_of, is_within},
    proof::{Plan, Start, prove},
    stream::{CHECKSUM_AT, Load, MIXED, NUMBER_AT, NumberedFrame, Seen, SocketLoad},
    tap::Tap,
    traffic::{TcpServer, UdpServer, ask, random_bytes, send_packet},
};

/// The client's address.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
/// The client's address as the server sees it.
pub const CLIENT_SEEN: &str = "2001:db8:6464::203.0.113.7";
/// The server's address.
pub const SERVER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x5e1, 1, 0, 0, 0, 0x10);
/// The server's address as the client sees it.
pub const SERVER_SEEN: &str = "198.51.100.10";
/// The address in the pool for `router6`, which has no IPv4 address.
pub const POOL: &str = "192.0.2.200";

/// The configuration that the lab's daemon runs with; `SOCKET` and `STATE` are replaced.
const CONFIGURATION: &str = r#"
[dataplane]
interfaces = ["inet4", "inet6"]
[translation]
prefixes = ["2001:db8:6464::/96"]
[[eam]]
ipv4 = "198.51.100.10"
ipv6 = "2001:db8:5e1:1::10"
comment = "www"
[[eam]]
ipv4 = "198.51.100.66"
ipv6 = "2001:db8:5e1:1::66"
[icmp]
ipv4_pool = ["192.0.2.200"]
[state]
directory = "STATE"
[control]
socket = "SOCKET"
group = "root"
[metrics]
listen = "127.0.0.1:9464"
"#;

/// The machines.
pub struct Lab {
    /// Has no IPv6 at all.
    pub client: Namespace,
    /// A router of the IPv4 Internet.
    pub router4: Namespace,
    /// Where the daemon runs.
    pub relay: Namespace,
    /// A router of the IPv6 network.
    pub router6: Namespace,
    /// Has no IPv4 at all.
    pub server: Namespace,
    /// The programs on the far ends of the relay's cables.
    pass_programs: Vec<OwnedFd>,
}

impl Lab {
    /// Takes the programs off the far ends of the relay's cables, for others. What the relay redirects arrives all the same.
    pub fn free_far_ends(&mut self) {
        self.pass_programs.clear();
    }

    /// The machines and the links between them, without a daemon.
    ///
    /// # Errors
    /// Without root, `ip` or `ethtool`.
    pub fn new() -> Result<Self> {
        let new = Namespace::new;
        let mut lab = Self {
            client: new()?,
            router4: new()?,
            relay: new()?,
            router6: new()?,
            server: new()?,
            pass_programs: Vec::new(),
        };
        for router in [&lab.router4, &lab.relay, &lab.router6] {
            for tree in ["all", "default"] {
                router.sysctl(&format!("ipv4/conf/{tree}/forwarding"), "1")?;
                router.sysctl(&format!("ipv6/conf/{tree}/forwarding"), "1")?;
            }
            // A traceroute asks faster than the kernel's limits allow.
            router.sysctl("ipv4/icmp_ratelimit", "0")?;
            router.sysctl("ipv6/icmp/ratelimit", "0")?;
        }
        lab.client.sysctl("ipv6/conf/all/disable_ipv6", "1")?;
        lab.client.sysctl("ipv6/conf/default/disable_ipv6", "1")?;
        lab.router4.link("client", &lab.client, "eth0")?;
        lab.relay.link("inet4", &lab.router4, "relay")?;
        lab.relay.link("inet6", &lab.router6, "relay")?;
        lab.router6.link("server", &lab.server, "eth0")?;
        lab.pass_programs = vec![lab.router4.pass("relay")?, lab.router6.pass("relay")?];
        lab.client.ip("addr add 203.0.113.7/24 dev eth0")?;
        lab.router4.ip("addr add 203.0.113.1/24 dev client")?;
        lab.router4.ip("addr add 198.18.0.1/24 dev relay")?;
        lab.relay.ip("addr add 198.18.0.2/24 dev inet4")?;
        lab.relay.ip("addr add 2001:db8:fe::1/64 dev inet6 nodad")?;
        lab.router6.ip("addr add 2001:db8:fe::2/64 dev relay nodad")?;
        lab.router6.ip("addr add 2001:db8:5e1:1::1/64 dev server nodad")?;
        lab.server.ip("addr add 2001:db8:5e1:1::10/64 dev eth0 nodad")?;
        lab.client.ip("route add default via 203.0.113.1")?;
        lab.router4.ip("route add default via 198.18.0.2")?;
        lab.relay.ip("route add 203.0.113.0/24 via 198.18.0.1")?;
        lab.relay.ip("route add 2001:db8:5e1::/48 via 2001:db8:fe::2")?;
        lab.router6.ip("route add default via 2001:db8:fe::1")?;
        lab.server.ip("route add default via 2001:db8:5e1:1::1")?;
        Ok(lab)
    }

    /// The machines with the daemon running.
    ///
    /// # Errors
    /// As [`Self::new`], or the daemon does not start.
    pub fn with_daemon() -> Result<(Self, Daemon)> {
        let lab = Self::new()?;
        let daemon = Daemon::start(&lab.relay, CONFIGURATION)?;
        Ok((lab, daemon))
    }

    /// The same with other lines in the configuration: each pair is a text and what stands in its place.
    ///
    /// # Errors
    /// As [`Self::new`], or the daemon does not start.
    pub fn with_daemon_changed(changes: &[(&str, &str)]) -> Result<(Self, Daemon)> {
        let lab = Self::new()?;
        let text = changes.iter().fold(CONFIGURATION.to_owned(), |text, (from, to)| text.replace(from, to));
        let daemon = Daemon::start(&lab.relay, &text)?;
        Ok((lab, daemon))
    }

    /// The configuration of the lab's daemon.
    #[must_use]
    pub fn configuration() -> &'static str {
        CONFIGURATION
    }
}
