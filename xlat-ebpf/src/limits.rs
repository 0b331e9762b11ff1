//! Rate limits over all CPUs.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use xlat_common::{
    limit::{is_used_up as limit_is_used_up, take as take_token},
    settings::icmp_errors,
};

use crate::{
    conclude::counters,
    maps::{LIMITS, limit},
    setting,
};

/// Whether an ICMP error of the relay's own may be sent. Counted either way.
#[inline(always)]
pub fn icmp_error() -> bool {
    let allowed = match setting!(icmp_errors) {
        icmp_errors::OFF => false,
        icmp_errors::ON => true,
        _ => take(limit::ICMP_ERRORS, setting!(icmp_rate)),
    };
    if let Some(counters) = counters() {
        if allowed {
            counters.errors_sent += 1;
        } else {
            counters.errors_suppressed += 1;
        }
    }
    allowed
}

/// Whether no ICMP error of the relay's own may be sent at this moment. Nothing is counted.
#[inline(always)]
pub fn has_no_icmp_error() -> bool {
    match setting!(icmp_errors) {
        icmp_errors::OFF => true,
        icmp_errors::ON => false,
        _ => is_used_up(limit::ICMP_ERRORS, setting!(icmp_rate)),
    }
}

/// Whether [`take`] would fail.
#[inline(always)]
fn is_used_up(place: u32, rate: u32) -> bool {
    let Some(paid) = LIMITS.get_ptr_mut(place) else { return true };
    // SAFETY: as in `take`.
    unsafe { limit_is_used_up(paid.read_volatile(), bpf_ktime_get_ns(), rate) }
}

/// Whether an event may be logged. Counted if not.
#[inline(always)]
pub fn event() -> bool {
    let allowed = take(limit::EVENTS, setting!(event_rate));
    if !allowed && let Some(counters) = counters() {
        counters.events_suppressed += 1;
    }
    allowed
}

/// Takes a token of a limit (`xlat_common::limit`). Two CPUs at once may take the same one; that is one packet more, and no lock on
/// any path.
#[inline(always)]
fn take(place: u32, rate: u32) -> bool {
    let Some(paid) = LIMITS.get_ptr_mut(place) else { return false };
    // SAFETY: the helper has no arguments; the map value is an aligned word, and racing stores of it are whole.
    unsafe {
        let now = bpf_ktime_get_ns();
        match take_token(paid.read_volatile(), now, rate) {
            Some(after) => {
                paid.write_volatile(after);
                true
            }
            None => false,
        }
    }
}
