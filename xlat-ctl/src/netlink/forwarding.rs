//! Whether all interfaces that packets come by forward, or some do not: then a packet's way depends on the interface too.

use std::{fs, path::Path};

use super::{socket::NetlinkError, watch::snapshot};

/// Whether of the interfaces that an XDP program is attached to some forward a family's packets and some do not.
///
/// # Errors
/// The kernel cannot be asked.
pub(super) fn differs() -> Result<bool, NetlinkError> {
    let machine = snapshot()?;
    // What comes by a port of a bond comes by the bond.
    let arrivals = || machine.with_program().filter(|interface| machine.bond_of(interface).is_none());
    let names = || arrivals().map(|interface| &*interface.name);
    Ok(differs_in(Path::new("/proc/sys/net"), names))
}

fn differs_in<'names, Names: Iterator<Item = &'names str>>(settings: &Path, names: impl Fn() -> Names) -> bool {
    ["ipv4", "ipv6"].into_iter().any(|family| {
        let of = |name: &str, key: &str| {
            let text = fs::read_to_string(settings.join(family).join("conf").join(name).join(key)).ok()?;
            Some(text.trim() != "0")
        };
        // Where IPv6 is disabled the fragmenter's end stands in for the interface, and it forwards.
        let asked = names().filter(|name| of(name, "disable_ipv6") != Some(true));
        let mut forward = asked.filter_map(|name| of(name, "forwarding"));
        forward.next().is_some_and(|first| forward.any(|other| other != first))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_whether_all_do_the_same() {
        let settings = tempfile::tempdir().unwrap();
        let set = |setting: &str, value: &str| {
            let path = settings.path().join(setting);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, value).unwrap();
        };
        let differs = || differs_in(settings.path(), || ["one", "two"].into_iter());
        assert!(!differs());
        for interface in ["ipv4/conf/one", "ipv4/conf/two", "ipv6/conf/one"] {
            set(&format!("{interface}/forwarding"), "1\n");
        }
        assert!(!differs());
        set("ipv6/conf/two/forwarding", "0\n");
        assert!(differs());
        set("ipv6/conf/two/disable_ipv6", "1\n");
        assert!(!differs());
        set("ipv4/conf/three/forwarding", "0\n");
        assert!(!differs());
        set("ipv4/conf/one/forwarding", "0\n");
        assert!(differs());
    }
}
