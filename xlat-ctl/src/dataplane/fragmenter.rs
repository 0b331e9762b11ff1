//! The slow path: a veth pair whose far end lies in a network namespace of its own, where the kernel does what one packet in,
//! one packet out cannot: it fragments.
//!
//! ```text
//!   the relay's namespace                  │ a private one, reachable by nobody
//!                                          │
//!   xlat ── a packet that does not fit ──► near ═══ far ─┐  default route: out of `far` again, MTU locked to
//!   xlat ◄── its pieces, or ICMPv6 errors, near ═══ far ◄┘  what an IPv4 packet may have
//!   the kernel ── ICMPv6 errors ─────────► near │
//! ```
//!
//! The kernel's own ICMPv6 errors to IPv4 clients are addressed inside a translation prefix; a rule for what the machine itself
//! sends leads them into the near end, and they come back to where the program sees them arrive.
//!
//! Both ends have the same link-layer address: without address resolution Linux sends to the device's own, and the other end
//! takes what is sent to its own.
//!
//! Where the data plane is pinned, so is the private namespace, by a mount at `/run/netns`: the pair goes on working when the
//! daemon ends, and the next daemon takes it over. Where mounts are not allowed, an instance hands the descriptor of the namespace
//! to the next one ([`HandedOver`]); with the process' last descriptor the namespace goes, with it the far end, and with that the
//! near end and its routes.

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

use ipnet::Ipv6Net;
use tracing::{debug, warn};
use xlat_common::interface::MAX_IFINDEX;

use super::{error::DataPlaneError, interfaces::NearEnd, namespaces};
use crate::{
    netlink::{
        self, NetlinkError,
        links::{End, Links, own_errors_rule, sysctl},
        offload::{self, Offload},
    },
    plain,
};

/// Name of the near end.
pub(super) const NAME: &str = "xlat0";
/// Name of the far end, in a namespace where no other interface is.
pub(super) const FAR: &str = "far";
/// The largest IPv4 packet that leaves the far end: IPv6's minimum MTU (RFC 8200 5) without the 28 bytes that a fragment grows by.
/// Such pieces fit every way, also one whose route has a smaller MTU than any interface.
const PIECE: u32 = 1280 - 28;
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

/// The veth pair and its namespace.
pub(super) struct Fragmenter {
    name: String,
    near: NearEnd,
    links: Links,
    /// The prefixes that there are to be rules for.
    led: Vec<Ipv6Net>,
    /// Whether the kernel has refused one of these rules, and that was said.
    rules_are_refused: bool,
    /// Where the namespace is kept when this process ends.
    kept: Option<PathBuf>,
    /// Whether it is in use, so that it is to be kept: before, a daemon that does not get as far leaves nothing behind.
    in_use: bool,
    /// Keeps the namespace.
    namespace: Arc<File>,
}

/// The private namespace of a fragmenter that is kept nowhere: for the instance that comes next in this process.
#[derive(Clone, Debug)]
pub struct HandedOver(Arc<File>);

impl Fragmenter {
    /// Makes the pair and sets both ends up, or takes over what is kept at `keep` (a path below `/run/netns`) or handed over by
    /// another instance of this process. Nothing is led into a new pair yet.
    pub(super) fn new(
        name: &str,
        multi_buffer: bool,
        keep: Option<&Path>,
        handed_over: Option<HandedOver>,
    ) -> Result<Self, DataPlaneError> {
        let refused = |reason| DataPlaneError::Fragmenter { name: name.to_owned(), reason };
        if let Some(HandedOver(namespace)) = handed_over {
            match Self::take_over(name, namespace, None) {
                Ok(fragmenter) => return Ok(fragmenter),
                Err(reason) => warn!("the fragmenter that is there cannot be taken over, a new one is made: {reason}"),
            }
        }
        keep.map_or(Ok(()), |kept| namespaces::expect_own(kept, FAR)).map_err(refused)?;
        let pair_mtu = if multi_buffer { MTU } else { ONE_PAGE_MTU };
        if let Some(kept) = keep.filter(|path| path.exists()) {
            match Self::take_over_kept(name, kept) {
                Ok(fragmenter) => return Ok(fragmenter),
                Err(reason) if !namespaces::may_keep() => debug!("nothing to take over: {reason}"),
                Err(reason) => {
                    warn!("the fragmenter that is there cannot be taken over, a new one is made: {reason}");
                    namespaces::forget(kept);
                }
            }
        }
        Self::make(name, pair_mtu, keep).map_err(refused)
    }

    /// The pair that another daemon has made and set up.
    fn take_over_kept(name: &str, kept: &Path) -> Result<Self, String> {
        let namespace = File::open(kept).map_err(|error| plain(&error))?;
        Self::take_over(name, Arc::new(namespace), Some(kept.to_owned()))
    }

    /// The pair whose far end is in a namespace.
    fn take_over(name: &str, namespace: Arc<File>, kept: Option<PathBuf>) -> Result<Self, String> {
        let far_mac = namespaces::inside(&namespace, || {
            let mut far = Links::open().map_err(text)?;
            let (ifindex, mac) = far.find(FAR).map_err(text)?;
            // A daemon of another version may have wanted larger pieces. These fit its settings, too.
            far.set_ipv4_default(ifindex, PIECE).map_err(text)?;
            Ok(mac)
        })?;
        let mut links = Links::open().map_err(text)?;
        let (ifindex, mac) = links.find(name).map_err(text)?;
        if mac != far_mac {
            return Err(format!("{name} is not the other end of what is in its namespace"));
        }
        let near = NearEnd { ifindex, mac, peer_mac: mac, mtu: links.mtu(name).map_err(text)? };
        let (name, led) = (name.to_owned(), Vec::new());
        Ok(Self { name, near, links, led, rules_are_refused: false, kept, in_use: true, namespace })
    }

    fn make(name: &str, pair_mtu: u32, keep: Option<&Path>) -> Result<Self, String> {
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

    /// Name of its near end.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What the next instance takes over, where nothing is kept in the file system.
    pub(super) fn hand_over(&self) -> Option<HandedOver> {
        self.kept.is_none().then(|| HandedOver(Arc::clone(&self.namespace)))
    }

    /// Its near end, which the program is attached to.
    pub(super) fn near(&self) -> NearEnd {
        self.near
    }

    /// Leads what the kernel itself sends to IPv4 clients into the near end. To be called once the program is attached
    /// there: without it, what goes in circles until its hop limit ends.
    pub(super) fn lead_own_errors(&mut self, prefixes: &[Ipv6Net]) {
        self.led = prefixes.to_vec();
        let mut refused = None;
        for prefix in prefixes {
            if let Err(error) = self.links.lead_own_errors(*prefix, self.near.ifindex) {
                refused = Some(error);
            }
        }
        self.note_refused(refused);
    }

    /// Sets the near end up again.
    pub(super) fn set_up(&mut self) -> Result<(), NetlinkError> {
        self.links.up(self.near.ifindex)
    }

    /// Has the kernel take IPv6 packets from the near end again.
    pub(super) fn enable_ipv6(&self) {
        let key = format!("ipv6/conf/{}/disable_ipv6", self.name);
        match sysctl(&key, "0") {
            Ok(()) => warn!("somebody has disabled IPv6 on {}: it is enabled again", self.name),
            Err(error) => debug!("cannot set {key}: {}", plain(&error)),
        }
    }

    /// Makes anew what is missing of [`Self::lead_own_errors`]: network managers remove rules that are not theirs.
    pub(super) fn keep_leading_own_errors(&mut self) {
        let mut refused = None;
        for prefix in &self.led {
            match self.links.lead_own_errors_again(*prefix, self.near.ifindex) {
                Ok(false) => {}
                Ok(true) => {
                    let rule = own_errors_rule(prefix);
                    warn!("`ip -6 rule add {rule}` or the route in its table was missing: both are there again");
                }
                Err(error) => refused = Some(error),
            }
        }
        self.note_refused(refused);
    }

    /// Says once that rules cannot be made, which are tried again.
    fn note_refused(&mut self, refused: Option<NetlinkError>) {
        let is_refused = refused.is_some();
        if let Some(error) = refused.filter(|_| !self.rules_are_refused) {
            warn!("the kernel's own ICMPv6 errors to IPv4 clients are not translated until this succeeds: {error}");
        }
        self.rules_are_refused = is_refused;
    }

    /// Takes back what a daemon before has led into the near end and is not wanted any more.
    pub(super) fn forget_other_prefixes(&mut self) {
        for prefix in self.links.led_prefixes().unwrap_or_default() {
            if !self.led.contains(&prefix)
                && let Err(error) = self.links.forget_own_errors(prefix)
            {
                warn!("{error}");
            }
        }
    }

    /// From here on packets go by it: it is kept when this process ends, if it can be.
    pub(super) fn set_in_use(&mut self) {
        self.in_use = true;
    }

    /// Removes all of it, also what would be kept.
    pub(super) fn remove(mut self) {
        self.in_use = false;
    }
}

impl Drop for Fragmenter {
    fn drop(&mut self) {
        if let Some(kept) = &self.kept {
            if self.in_use {
                return;
            }
            namespaces::forget(kept);
        }
        if Arc::strong_count(&self.namespace) > 1 {
            // Another instance has it.
            return;
        }
        for prefix in &self.led {
            if let Err(error) = self.links.forget_own_errors(*prefix) {
                warn!("{error}");
            }
        }
        if let Err(error) = self.links.delete(self.near.ifindex)
            && error.raw_os_error() != Some(libc::ENODEV)
        {
            warn!("the fragmenter's interface {} is left to the kernel to remove: {error}", self.name);
        }
    }
}

/// Removes what a data plane that is pinned in `pin_directory` has kept of its fragmenter. Where the relay is in another network
/// namespace than the caller, its rules stay, and so do those of the relay that may be in this one.
pub(super) fn remove_kept(pin_directory: &Path) {
    let kept = namespaces::place(pin_directory);
    let elsewhere = is_elsewhere(pin_directory);
    if let Err(reason) = namespaces::expect_own(&kept, FAR) {
        warn!("{reason}; it is left alone");
    } else if kept.exists() {
        // Where this cannot be done, the pair goes with its namespace, a moment later.
        match Fragmenter::take_over_kept(NAME, &kept) {
            Ok(fragmenter) => fragmenter.remove(),
            Err(_) => {
                if elsewhere && let Err(reason) = remove_far(&kept) {
                    warn!("the pair whose far end is in {} cannot be removed: {reason}", kept.display());
                }
                namespaces::forget(&kept);
            }
        }
    }
    if elsewhere {
        return;
    }
    let remove_rules = || -> Result<(), NetlinkError> {
        let mut links = Links::open()?;
        links.led_prefixes()?.into_iter().try_for_each(|prefix| links.forget_own_errors(prefix))
    };
    if let Err(error) = remove_rules() {
        warn!("{error}");
    }
}

/// Whether what is kept of the fragmenter of a relay that is pinned in `pin_directory` has its near end in another network namespace
/// than the caller's: one end of a veth pair never outlives the other.
pub(super) fn is_elsewhere(pin_directory: &Path) -> bool {
    let kept = namespaces::place(pin_directory);
    if !namespaces::is_kept(&kept) || namespaces::expect_own(&kept, FAR).is_err() {
        return false;
    }
    let Ok(far_mac) = in_kept(&kept, |far| far.find(FAR).map(|(_, mac)| mac)) else { return false };
    match Links::open().and_then(|mut links| links.find(NAME)) {
        Ok((_, mac)) => mac != far_mac,
        Err(error) => error.raw_os_error() == Some(libc::ENODEV),
    }
}

/// Removes the far end, and with it the near end, wherever that is.
fn remove_far(kept: &Path) -> Result<(), String> {
    in_kept(kept, |far| {
        let (ifindex, _) = far.find(FAR)?;
        far.delete(ifindex)
    })
}

/// Does something with the interfaces of a kept namespace.
fn in_kept<T: Send>(
    kept: &Path,
    action: impl FnOnce(&mut Links) -> Result<T, NetlinkError> + Send,
) -> Result<T, String> {
    let namespace = File::open(kept).map_err(|error| plain(&error))?;
    namespaces::inside(&namespace, || Links::open().and_then(|mut links| action(&mut links)).map_err(text))
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

fn text(error: NetlinkError) -> String {
    error.to_string()
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
