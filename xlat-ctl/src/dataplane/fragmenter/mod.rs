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

mod kept;
mod make;

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use ipnet::Ipv6Net;
use tracing::{debug, warn};

pub(super) use self::kept::{is_elsewhere, remove_kept};
use super::{error::DataPlaneError, interfaces::NearEnd, namespaces};
use crate::{
    netlink::{
        NetlinkError,
        links::{Links, own_errors_rule, sysctl},
    },
    plain,
};

/// Name of the near end.
pub const NAME: &str = "xlat0";
/// Name of the far end, in a namespace where no other interface is.
pub(super) const FAR: &str = "far";
/// The largest IPv4 packet that leaves the far end: IPv6's minimum MTU (RFC 8200 5) without the 28 bytes that a fragment grows by.
/// Such pieces fit every way, also one whose route has a smaller MTU than any interface.
const PIECE: u32 = 1280 - 28;
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

/// The private namespace of a fragmenter, for the instance that comes next in this process.
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
            // Somebody may have removed what keeps it.
            let kept = keep.filter(|path| namespaces::keep_again(&namespace, path)).map(Path::to_owned);
            match Self::take_over(name, namespace, kept) {
                Ok(fragmenter) => return Ok(fragmenter),
                Err(reason) => warn!("the fragmenter that is there cannot be taken over, a new one is made: {reason}"),
            }
        }
        keep.map_or(Ok(()), |kept| namespaces::expect_own(kept, FAR)).map_err(refused)?;
        let pair_mtu = make::pair_mtu(multi_buffer);
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
            // Its daemon may have been killed before it was done; or, of another version, have wanted larger pieces: these fit its
            // settings, too. One that is not up takes no route, and is refused.
            make::complete_far(&mut far, ifindex)?;
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

    /// Name of its near end.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What the next instance takes over.
    pub(super) fn hand_over(&self) -> HandedOver {
        HandedOver(Arc::clone(&self.namespace))
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

    /// Removes all of it, also what would be kept, and the rules that are left of other prefixes or of a near end that is gone.
    pub(super) fn remove(mut self) {
        self.in_use = false;
        self.led = Vec::new();
        self.forget_other_prefixes();
    }
}

impl Drop for Fragmenter {
    fn drop(&mut self) {
        if Arc::strong_count(&self.namespace) > 1 {
            // Another instance has it.
            return;
        }
        if let Some(kept) = &self.kept {
            if self.in_use {
                return;
            }
            namespaces::forget(kept);
        }
        // By both: an index may be another interface's by now, the address is each pair's own.
        let is_there = self.links.find(&self.name).is_ok_and(|found| found == (self.near.ifindex, self.near.mac));
        if !is_there {
            // Gone already; the rules may be those of another pair by now.
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

fn text(error: NetlinkError) -> String {
    error.to_string()
}
