//! Hosts and addresses as rows name them.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A host, by the address it has in each family.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// Its IPv4 address, or the one that stands for it.
    pub v4: &'static str,
    /// Its IPv6 address, or the one that stands for it.
    pub v6: &'static str,
}

/// What can stand where an IPv4 address is wanted.
pub trait Address4 {
    /// The address.
    fn v4(&self) -> Ipv4Addr;
}

/// What can stand where an IPv6 address is wanted.
pub trait Address6 {
    /// The address.
    fn v6(&self) -> Ipv6Addr;
}

impl Address4 for &str {
    fn v4(&self) -> Ipv4Addr {
        self.parse().unwrap_or_else(|_| panic!("`{self}` is no IPv4 address"))
    }
}

impl Address6 for &str {
    fn v6(&self) -> Ipv6Addr {
        self.parse().unwrap_or_else(|_| panic!("`{self}` is no IPv6 address"))
    }
}

impl Address4 for Host {
    fn v4(&self) -> Ipv4Addr {
        self.v4.v4()
    }
}

impl Address6 for Host {
    fn v6(&self) -> Ipv6Addr {
        self.v6.v6()
    }
}

impl Address4 for Ipv4Addr {
    fn v4(&self) -> Ipv4Addr {
        *self
    }
}

impl Address6 for Ipv6Addr {
    fn v6(&self) -> Ipv6Addr {
        *self
    }
}
