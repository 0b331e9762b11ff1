//! What others take away from the relay: its program, its fragmenter. Nothing tells of it; it is looked for.

use std::time::{Duration, Instant};

use tracing::error;

use super::relay::Relay;
use crate::{
    dataplane,
    netlink::{self, Machine},
};

/// When a fragmenter that could not be made anew is tried again.
const AGAIN: Duration = Duration::from_secs(60);

impl Relay {
    /// Notes where somebody has taken the program away: nothing tells of it.
    pub(super) fn look_for_losses(&mut self) {
        let Ok(machine) = netlink::snapshot() else { return };
        let id = self.dataplane.attached_program();
        for (ifindex, link) in self.links.iter_mut().filter(|(_, link)| link.outcome.is_ok()) {
            let Some(interface) = machine.interface(*ifindex) else { continue };
            if interface.xdp_program.is_some_and(|program| program.id == id) {
                continue;
            }
            let there = interface.xdp_program.map_or_else(
                || "it has none".to_owned(),
                |program| format!("it has another: {}", dataplane::describe_program(program.id)),
            );
            let reason = format!("somebody has taken the program from {}; {there}", link.name);
            error!("{reason}");
            link.outcome = Err(reason);
            if let Err(error) = self.dataplane.detach(*ifindex) {
                error!("{error}");
            }
        }
        // At the end: it may put another program in the place of the one that was looked for.
        self.keep_fragmenter(&machine);
    }

    /// Mends the fragmenter, with a new program instance where that is what it takes; each minute, while that fails.
    fn keep_fragmenter(&mut self, machine: &Machine) {
        let Err(error) = self.dataplane.keep_fragmenter(machine) else {
            self.fragmenter_is_lost = None;
            return;
        };
        if self.fragmenter_is_lost.is_some_and(|tried| tried.elapsed() < AGAIN) {
            return;
        }
        error!("{error}; it is made anew");
        if let Err(error) = self.swap(None) {
            self.fragmenter_is_lost = Some(Instant::now());
            error!("packets that need fragmenting are lost until this succeeds, which is tried each minute: {error:#}");
        }
    }
}
