//! Making the pair: both ends, and the namespace of the far one.

use std::{
    fs::File,
    hash::{BuildHasher, Hasher, RandomState},
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use xlat_common::interface::MAX_IFINDEX;

use super::{FAR, Fragmenter, PIECE, text};
use crate::{
    dataplane::{interfaces::NearEnd, namespaces},
    netlink::{
        self,
        links::{End, Links, sysctl},
        offload::{self, Offload},
    },
    plain,
};

/// MTU of the pair where frames may have several buffers.
const MTU: u32 = 65_535;
/// MTU where they may not: what fits one page beside the room that veth keeps.
const ONE_PAGE_MTU: u32 = 3_498;
/// How long the pair of a relay that has just been killed may take to vanish.
const PATIENCE: Duration = Duration::from_secs(3);

/// The private namespace's settings. The defaults hold for the far end, which comes later.
const SETTINGS: [(&str, &str); 15] = [
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/accept_local", "1"),
    ("ipv4/conf/default/accept_local", "1"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv6/conf/default/addr_gen_mode", "1"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/autoconf", "0"),
    ("ipv6/conf/default/router_solicitations", "0"),
    ("ipv6/conf/all/disable_ipv6", "0"),
    ("ipv6/conf/all/forwarding", "1"),
    // A router's interface reports that it is a member of all routers, which the program would see arrive and count.
    ("ipv6/conf/default/forwarding", "0"),
];

/// MTU of the pair, bytes.
pub(super) const fn pair_mtu(multi_buffer: bool) -> u32 {
    if multi_buffer { MTU } else { ONE_PAGE_MTU }
}

impl Fragmenter {
    /// Makes the pair and sets both ends up.
    pub(super) fn make(name: &str, pair_mtu: u32, keep: Option<&Path>) -> Result<Self, String> {
        let mac = random_mac();
        let keep_at = keep.map(Path::to_owned);
        let mut links = Links::open().map_err(text)?;
        // The steps on both sides of the border take turns.
        let (made, is_made) = mpsc::channel::<()>();
        let (ready, namespace) = mpsc::channel();
        let inside = thread::Builder::new()
            .name("fragmenter".to_owned())
            .spawn(move || {
                let namespace = open_namespace(keep_at.as_deref())?;
                let kept = keep_at.filter(|path| namespaces::is_kept(path) || namespaces::keep(path));
                ready.send((namespace, kept)).map_err(|_| "nobody waits for the namespace".to_owned())?;
                is_made.recv().map_err(|_| "the veth pair was not made".to_owned())?;
                set_up_far()
            })
            .map_err(|error| plain(&error))?;
        let failed = || "its thread ended early".to_owned();
        let Ok((namespace, kept)) = namespace.recv() else {
            return Err(inside.join().map_or_else(|_| failed(), |result| result.err().unwrap_or_else(failed)));
        };
        let (near, far) = (End { name, mac, mtu: pair_mtu }, End { name: FAR, mac, mtu: pair_mtu });
        let kept = KeptGuard(kept);
        let ifindex = make_below(MAX_IFINDEX, &mut links, &near, &far, &namespace)?;
        let mut guard = Guard { links: Some(links), ifindex };
        let links = guard.links.as_mut().expect("taken only at the end");
        set_up_near(links, name, ifindex)?;
        made.send(()).map_err(|_| failed())?;
        inside.join().map_err(|_| failed())??;
        Ok(Self {
            name: name.to_owned(),
            near: NearEnd { ifindex, mac, peer_mac: mac, mtu: pair_mtu },
            links: guard.links.take().expect("taken only here"),
            led: Vec::new(),
            rules_are_refused: false,
            kept: kept.take(),
            in_use: false,
            namespace: Arc::new(namespace),
        })
    }
}

/// Removes the pair if setting it up fails half-way.
struct Guard {
    links: Option<Links>,
    ifindex: u32,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(links) = &mut self.links {
            let _ = links.delete(self.ifindex);
        }
    }
}

/// Gives a kept namespace up again if setting it up fails half-way.
struct KeptGuard(Option<PathBuf>);

impl KeptGuard {
    fn take(mut self) -> Option<PathBuf> {
        self.0.take()
    }
}

impl Drop for KeptGuard {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            namespaces::forget(path);
        }
    }
}

/// A locally administered unicast address.
fn random_mac() -> [u8; 6] {
    let [a, b, c, d, e, ..] = RandomState::new().build_hasher().finish().to_ne_bytes();
    [0x02, a, b, c, d, e]
}

/// Moves the calling thread into the network namespace that is kept at a path, or into a new one.
fn open_namespace(kept: Option<&Path>) -> Result<File, String> {
    namespaces::enter(kept).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "no permission to make or enter a network namespace: it needs CAP_SYS_ADMIN".to_owned()
        }
        _ => format!("cannot make a network namespace: {}", plain(&error)),
    })?;
    for (key, value) in SETTINGS {
        set(key, value)?;
    }
    File::open("/proc/thread-self/ns/net")
        .map_err(|error| format!("cannot open its network namespace: {}", plain(&error)))
}

/// Writes a network setting. A kernel without IPv6 has none of its settings.
fn set(key: &str, value: &str) -> Result<(), String> {
    match sysctl(key, value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && key.starts_with("ipv6/") => Ok(()),
        Err(error) => Err(format!("cannot set /proc/sys/net/{key} to {value}: {}", plain(&error))),
        Ok(()) => Ok(()),
    }
}

/// Makes the pair, its near end with an index below `limit`: the kernel counts on where many interfaces have come and gone.
fn make_below(limit: u32, links: &mut Links, near: &End<'_>, far: &End<'_>, namespace: &File) -> Result<u32, String> {
    make(links, near, far, namespace, None)?;
    let (ifindex, _) = links.find(near.name).map_err(text)?;
    if ifindex < limit {
        return Ok(ifindex);
    }
    links.delete(ifindex).map_err(text)?;
    let machine = netlink::snapshot().map_err(text)?;
    let free = (2..limit).rev().find(|index| machine.interface(*index).is_none());
    let free = free.ok_or_else(|| format!("the machine has an interface of each index below {limit}"))?;
    make(links, near, far, namespace, Some(free))?;
    Ok(free)
}

fn make(
    links: &mut Links,
    near: &End<'_>,
    far: &End<'_>,
    namespace: &File,
    ifindex: Option<u32>,
) -> Result<(), String> {
    let start = Instant::now();
    loop {
        match links.add_veth(near, far, namespace.as_fd(), ifindex) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) && start.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(50));
            }
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                return Err("an interface of this name is there already: does another relay run here?".to_owned());
            }
            other => return other.map_err(text),
        }
    }
}

/// The near end: the kernel forwards what the program hands it from there, even with one of the relay's own addresses as
/// its source.
fn set_up_near(links: &mut Links, name: &str, ifindex: u32) -> Result<(), String> {
    // The stricter of the two counts: loose is needed where strict is set for all interfaces.
    let all = std::fs::read_to_string("/proc/sys/net/ipv4/conf/all/rp_filter").unwrap_or_default();
    let rp_filter = if all.trim() == "0" { "0" } else { "2" };
    for (family, key, value) in [
        ("ipv4", "rp_filter", rp_filter),
        ("ipv4", "accept_local", "1"),
        ("ipv4", "send_redirects", "0"),
        ("ipv4", "forwarding", "1"),
        ("ipv6", "disable_ipv6", "0"),
        ("ipv6", "accept_ra", "0"),
        ("ipv6", "router_solicitations", "0"),
        ("ipv6", "forwarding", "1"),
    ] {
        set(&format!("{family}/conf/{name}/{key}"), value)?;
    }
    quieten(name, &[Offload::TransmitChecksum, Offload::TcpSegmentation, Offload::GenericSegmentation])?;
    links.up(ifindex).map_err(text)
}

/// The far end, in its namespace: whole packets in, pieces out.
fn set_up_far() -> Result<(), String> {
    let mut links = Links::open().map_err(text)?;
    let (ifindex, _) = links.find(FAR).map_err(text)?;
    quieten(FAR, &[Offload::TransmitChecksum, Offload::TcpSegmentation, Offload::GenericSegmentation])?;
    links.up(ifindex).map_err(text)?;
    complete_far(&mut links, ifindex)
}

/// What is done to a far end that is up. What is done already stays as it is.
pub(super) fn complete_far(links: &mut Links, ifindex: u32) -> Result<(), String> {
    // Only with GRO does a veth take frames from XDP on its peer when it has no program itself (Linux 5.13); some versions
    // look at it only when both ends are up.
    offload::set(FAR, Offload::GenericReceive, true)
        .map_err(|error| format!("cannot switch GRO on: {}", plain(&error)))?;
    links.set_ipv4_default(ifindex, PIECE).map_err(text)?;
    match links.set_ipv6_default(ifindex) {
        // A kernel without IPv6.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP)) => {}
        other => other.map_err(text)?,
    }
    Ok(())
}

/// Switches off what would make half-finished packets of whole ones.
fn quieten(name: &str, offloads: &[Offload]) -> Result<(), String> {
    for offload in offloads {
        offload::set(name, *offload, false)
            .map_err(|error| format!("cannot switch {offload:?} off on {name}: {}", plain(&error)))?;
    }
    Ok(())
}
