//! What became of a packet.

use aya_ebpf::bindings::xdp_action;
use xlat_common::{
    counters::Verdict,
    outcome::{DROP, FRAGMENT, KIND, OTHER, PASS, SENT},
    reason::DropReason,
};

use crate::maps::{Record, counters, result};

/// The result of a packet that none of the programs behind the fast path has seen.
const UNSET: u32 = u32::MAX;

/// Notes what the programs in force are about to change. `None`: they share nothing with this one.
#[inline(always)]
pub fn prepare(record: &mut Record) -> Option<()> {
    let counters = counters()?;
    record.passed_other = counters.passed_other;
    record.drops = counters.drops;
    // SAFETY: a word of a map's value, this CPU's.
    unsafe { result()?.write_volatile(UNSET) };
    Some(())
}

/// What became of the packet, as a number of `xlat_common::outcome`.
#[inline(always)]
pub fn of(record: &Record, action: u32) -> u32 {
    // SAFETY: a word of a map's value, this CPU's.
    let result = result().map_or(UNSET, |result| unsafe { result.read_volatile() });
    if result != UNSET {
        return result;
    }
    let others = counters().map_or(0, |counters| counters.passed_other);
    match action {
        xdp_action::XDP_TX => SENT | action | (Verdict::Transmitted as u32) << 8,
        xdp_action::XDP_REDIRECT => SENT | action | (Verdict::Redirected as u32) << 8,
        xdp_action::XDP_PASS if others != record.passed_other => OTHER,
        xdp_action::XDP_PASS => PASS,
        _ => DROP | reason_since(record),
    }
}

/// The reason for a drop that has been counted since.
#[inline(always)]
fn reason_since(record: &Record) -> u32 {
    if let Some(counters) = counters() {
        for (reason, (now, before)) in counters.drops.iter().zip(&record.drops).enumerate() {
            if now != before {
                return reason as u32;
            }
        }
    }
    DropReason::Internal as u32
}

/// Whether the frame goes on as another than it came: translated, or as the answer to its sender.
#[inline(always)]
pub fn has_left(outcome: u32, action: u32) -> bool {
    let sent = action == xdp_action::XDP_TX || action == xdp_action::XDP_REDIRECT;
    outcome & KIND == SENT || sent && outcome & KIND != FRAGMENT
}
