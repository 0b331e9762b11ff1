//! `xlat-ctl doctor`: looks at the machine for all that makes a relay misbehave, and says what mends it.
//!
//! Each check is a file. A check reads what [`Seen`] has gathered and gives its findings; it changes nothing.

mod forwarding;
mod headroom;
mod interrupts;
mod kernel;
mod memory;
mod mtu;
mod offloads;
mod queues;
mod reverse_path;
mod routes;
mod seen;
mod xdp;

use serde::Serialize;

pub use self::seen::{Daemon, Seen};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name of the check.
    pub check: &'static str,
    /// Whether packets are lost or go wrong by it; else it only costs speed, or may be meant so.
    pub serious: bool,
    /// What is wrong.
    pub problem: String,
    /// What mends it: a command, or what to do.
    pub remedy: String,
}

impl Finding {
    fn serious(check: &'static str, problem: String, remedy: String) -> Self {
        Self { check, serious: true, problem, remedy }
    }

    fn hint(check: &'static str, problem: String, remedy: String) -> Self {
        Self { check, serious: false, problem, remedy }
    }
}

/// A check by its name.
type Check = (&'static str, fn(&Seen) -> Vec<Finding>);

/// All of them, the most basic first.
const CHECKS: &[Check] = &[
    (kernel::NAME, kernel::check),
    (memory::NAME, memory::check),
    (forwarding::NAME, forwarding::check),
    (reverse_path::NAME, reverse_path::check),
    (xdp::NAME, xdp::check),
    (headroom::NAME, headroom::check),
    (offloads::NAME, offloads::check),
    (mtu::NAME, mtu::check),
    (routes::NAME, routes::check),
    (queues::NAME, queues::check),
    (interrupts::NAME, interrupts::check),
];

/// Name of what is found before all checks.
const DAEMON: &str = "daemon";

/// That there is a control socket, but no daemon that answers there.
#[must_use]
pub fn daemon_is_silent(reason: &str) -> Finding {
    let remedy =
        "systemctl status xlat, and journalctl -u xlat; packets go on being translated by the program that is attached";
    Finding::serious(DAEMON, reason.to_owned(), remedy.to_owned())
}

/// The names of the checks, in their order.
pub fn names() -> impl Iterator<Item = &'static str> {
    std::iter::once(DAEMON).chain(CHECKS.iter().map(|(name, _)| *name))
}

/// What all checks find.
#[must_use]
pub fn examine(seen: &Seen) -> Vec<Finding> {
    CHECKS.iter().flat_map(|(_, check)| check(seen)).collect()
}
