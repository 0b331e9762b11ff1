//! The addresses of the bench's world.
//!
//! ```text
//!  IPv4 clients        64.0.0.0/3                     as IPv6  2001:db8:6464::/96
//!  denied clients      198.51.100.0/24
//!  services            16.0.0.0 onwards               as IPv6  2001:db8:5e1::/96, the same last 32 bits
//!  not translated      20.0.0.0/8                              2001:db8:7::/96
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use xlat_ctl::dataplane::Eam;

use crate::scene::Table;

/// The translation prefix, of 96 bits.
pub(crate) const TRANSLATION: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x6464, 0, 0, 0, 0, 0);
/// What services' IPv6 addresses begin with, 96 bits.
pub(crate) const SERVICES: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x5e1, 0, 0, 0, 0, 0);
/// What addresses that are not translated begin with, 96 bits.
pub(crate) const ORDINARY: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 0);
/// The first service's IPv4 address.
pub(crate) const FIRST_SERVICE: u32 = u32::from_be_bytes([16, 0, 0, 0]);
/// The first IPv4 address that is not translated.
pub(crate) const FIRST_ORDINARY: u32 = u32::from_be_bytes([20, 0, 0, 0]);
/// The first client.
pub(crate) const FIRST_CLIENT: u32 = u32::from_be_bytes([64, 0, 0, 7]);
/// Clients are those with these bits, of which this many follow.
pub(crate) const CLIENT_BITS: u32 = 29;
/// A client that is denied.
pub(crate) const DENIED_CLIENT: u32 = u32::from_be_bytes([198, 51, 100, 7]);

/// One of the prefixes of 96 bits with 32 bits more.
#[must_use]
pub(crate) fn within(prefix: Ipv6Addr, ipv4: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(prefix.to_bits() | u128::from(ipv4))
}

/// How many addresses the services of a table have in all.
#[must_use]
pub(crate) fn addresses(table: Table) -> u32 {
    eams(table).map(|(_, len)| 1 << (32 - len)).sum()
}

/// The EAMs of a table, side by side: first address and IPv4 prefix length. The longest prefixes come last, so that each
/// begins where a prefix of its length can.
fn eams(table: Table) -> impl Iterator<Item = (u32, u8)> {
    let mut address = FIRST_SERVICE;
    let per_length = table.eams.div_ceil(table.lengths);
    (0..table.eams).map(move |number| {
        let shorter_by = (table.lengths - 1 - number / per_length) as u8;
        let eam = (address, 32 - shorter_by);
        address += 1 << shorter_by;
        eam
    })
}

/// The same as the data plane takes them.
#[must_use]
pub(crate) fn eam_list(table: Table) -> Vec<Eam> {
    let eam = |(address, len): (u32, u8)| Eam {
        ipv4: Ipv4Net::new_assert(Ipv4Addr::from_bits(address), len),
        ipv6: Ipv6Net::new_assert(within(SERVICES, address), 96 + len),
        prefix: None,
    };
    eams(table).map(eam).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eams_lie_side_by_side_without_host_bits() {
        let table = Table { eams: 1000, lengths: 4 };
        let list = eam_list(table);
        assert_eq!(list.len(), 1000);
        for eam in &list {
            assert_eq!(eam.ipv4, eam.ipv4.trunc());
            assert_eq!(eam.ipv6, eam.ipv6.trunc());
        }
        let mut lengths: Vec<u8> = list.iter().map(|eam| eam.ipv4.prefix_len()).collect();
        lengths.dedup();
        assert_eq!(lengths, [29, 30, 31, 32]);
        assert_eq!(addresses(table), 250 * (8 + 4 + 2 + 1));
    }
}
