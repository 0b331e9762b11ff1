//! The end of every packet: what became of it is counted, and a refusal goes on to be answered.

use aya_ebpf::{bindings::xdp_action, helpers::bpf_get_smp_processor_id, maps::Array, programs::XdpContext};
use xlat_common::{
    account::Record,
    counters::{Counters, Direction, Protocol, TRAFFIC_CELLS, Verdict},
    outcome::{DROP, FRAGMENT, KIND, PASS, REFUSE, SENT, TAIL_CALL},
    programs::index,
    reason::DropReason,
};

use crate::{
    context::Context,
    maps::{ACCOUNTS, Answer, COUNTERS, PROGRAMS, SCRATCH, Scratch},
    native, setting,
    verifier::reload,
};

/// A packet that is translated and sent: the XDP action, and the verdict it is counted under.
///
/// One number, as is [`Stop`], and not an enumeration with fields: where some paths leave a field unset, the compiler copies an
/// unset register, and the verifier refuses that.
#[derive(Clone, Copy)]
pub struct Sent(u32);

impl Sent {
    /// From both.
    #[inline(always)]
    pub const fn new(action: u32, verdict: Verdict) -> Self {
        Self(action | (verdict as u32) << 8)
    }

    /// The XDP action.
    #[inline(always)]
    pub const fn action(self) -> u32 {
        self.0 & 0xff
    }
}

/// Why a packet is not simply translated and sent: the kind, and below it a reason, an action or a program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Stop(u32);

impl Stop {
    /// Not in scope: the kernel gets it as it came.
    pub const PASS: Self = Self(PASS);
    /// A fault of the program.
    pub const INTERNAL: Self = Self::drop(DropReason::Internal);

    /// Dropped in silence.
    #[inline(always)]
    pub const fn drop(reason: DropReason) -> Self {
        Self(DROP | reason as u32)
    }

    /// Dropped, and the sender is told `answer`.
    #[inline(always)]
    pub fn refuse(reason: DropReason, answer: Answer) -> Self {
        if let Some(scratch) = scratch() {
            scratch.answer = answer;
        }
        Self(REFUSE | reason as u32)
    }

    /// Given to the kernel's fragmenter by this redirect.
    #[inline(always)]
    pub const fn fragment(action: u32) -> Self {
        Self(FRAGMENT | action & 0xff)
    }

    /// Another program's part.
    #[inline(always)]
    pub const fn tail_call(program: u32) -> Self {
        Self(TAIL_CALL | program)
    }

    /// As a number, not 0, to pass through a global function.
    #[inline(always)]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Whether it is a refusal for this reason.
    #[inline(always)]
    pub fn is_refusal(self, reason: DropReason) -> bool {
        self == Self(REFUSE | reason as u32)
    }

    /// Back from [`Stop::number`].
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// Whether it is [`Stop::PASS`].
    #[inline(always)]
    pub const fn is_pass(self) -> bool {
        self.0 & KIND == PASS
    }
}

/// What a packet is counted as: in the scratch record, so that the verifier does not tell packets apart by it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Tally {
    /// The first of the cells of its direction and protocol, one for each verdict.
    cell: u32,
    /// Bytes of the IP packet.
    pub bytes: u32,
    /// The account that it counts for if it is translated.
    pub account: u32,
}

impl Tally {
    /// `bytes` is the length of the IP packet.
    #[inline(always)]
    pub const fn new(direction: Direction, protocol: Protocol, bytes: usize) -> Self {
        Self { cell: (direction as u32) << 5 | (protocol as u32) << 3, bytes: bytes as u32, account: 0 }
    }
}

impl Tally {
    /// The same, for an account.
    #[inline(always)]
    pub const fn to(self, account: u32) -> Self {
        Self { account, ..self }
    }
}

/// This CPU's counters.
#[inline(always)]
pub fn counters() -> Option<&'static mut Counters> {
    // SAFETY: per CPU, and programs are not preempted by each other on one CPU: this is the only reference.
    COUNTERS.get_ptr_mut(0).map(|counters| unsafe { &mut *counters })
}

/// This CPU's scratch record.
#[inline(always)]
pub fn scratch() -> Option<&'static mut Scratch> {
    // SAFETY: as above.
    SCRATCH.get_ptr_mut(0).map(|scratch| unsafe { &mut *scratch })
}

/// Counts one packet; `verdict` is the number of a [`Verdict`].
#[inline(always)]
fn count(tally: &Tally, verdict: u32) {
    if let Some(counters) = counters() {
        count_in(counters, tally, verdict);
    }
}

/// As [`count`], with the counters at hand.
#[inline(always)]
pub fn count_in(counters: &mut Counters, tally: &Tally, verdict: u32) {
    let cell = &mut counters.traffic[(tally.cell | verdict) as usize & (TRAFFIC_CELLS - 1)];
    cell.packets += 1;
    cell.bytes += u64::from(tally.bytes);
}

/// Counts a packet that is translated for its account, by this CPU.
#[inline(always)]
pub fn count_account(tally: &Tally) {
    if setting!(accounts) != 0 {
        count_for(&ACCOUNTS, tally.account, tally.cell >> 5, tally.bytes);
    }
}

/// Counts a packet for an account in this CPU's part of a map; `direction` is the number of a [`Direction`].
#[inline(always)]
pub fn count_for(map: &Array<Record>, account: u32, direction: u32, bytes: u32) {
    // SAFETY: the helper has no arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    if let Some(record) = map.get_ptr_mut(cpu * setting!(accounts) + account) {
        // SAFETY: this CPU's part of the map, in which no other writes.
        let record = unsafe { &mut *record };
        let traffic = &mut record.traffic[(direction & 1) as usize];
        traffic.packets += 1;
        traffic.bytes += u64::from(bytes);
    }
}

/// Counts a dropped packet; `reason` is the number of a [`DropReason`].
#[inline(always)]
pub fn count_drop(tally: &Tally, reason: u32) {
    count(tally, Verdict::Dropped as u32);
    if let Some(counters) = counters() {
        counters.drops[reason as usize & 31] += 1;
    }
}

/// Counts a frame that is none of this program's.
#[inline(always)]
pub fn pass_other() -> u32 {
    if let Some(counters) = counters() {
        counters.passed_other += 1;
    }
    xdp_action::XDP_PASS
}

/// Counts a packet whose program is not there, and drops it.
#[inline(always)]
pub fn no_program() -> u32 {
    if let Some(counters) = counters() {
        counters.drops[DropReason::Internal as usize & 31] += 1;
    }
    xdp_action::XDP_DROP
}

/// Gives the XDP action for a packet in no scope, and counts it: `stop` is what becomes of it, passed or dropped.
#[inline(always)]
pub fn out_of_scope(tally: &Tally, stop: Stop) -> u32 {
    if stop.is_pass() {
        count(tally, Verdict::Passed as u32);
        return xdp_action::XDP_PASS;
    }
    count_drop(tally, DropReason::OutOfScope as u32);
    xdp_action::XDP_DROP
}

/// Counts a packet that a fault of the program has spoilt, and drops it.
#[inline(always)]
pub fn internal(tally: &Tally) -> u32 {
    count_drop(tally, DropReason::Internal as u32);
    xdp_action::XDP_DROP
}

/// Gives the XDP action for a packet's result, and counts it as the scratch record's [`Tally`].
#[inline(always)]
pub fn conclude(ctx: &Context, direction: Direction, result: Result<Sent, Stop>) -> u32 {
    let scratch = ctx.scratch();
    scratch.result = match result {
        Ok(Sent(sent)) => SENT | sent,
        Err(Stop(stop)) => stop,
    };
    // However it came about, from here on it is one.
    reload();
    let (tally, result) = (&scratch.tally, scratch.result);
    let value = result & 0xff;
    match result & KIND {
        SENT => {
            count(tally, result >> 8 & 0xff);
            count_account(tally);
            value
        }
        PASS => {
            count(tally, Verdict::Passed as u32);
            native::passed(ctx, direction);
            xdp_action::XDP_PASS
        }
        FRAGMENT => {
            count(tally, Verdict::Fragmented as u32);
            value
        }
        TAIL_CALL => {
            go_on(ctx, value);
            internal(tally)
        }
        kind => {
            count_drop(tally, value);
            if kind == REFUSE {
                refuse(ctx, direction);
            }
            xdp_action::XDP_DROP
        }
    }
}

/// Goes on in the program that answers the sender; comes back only if that is not there.
#[inline(always)]
fn refuse(ctx: &XdpContext, direction: Direction) {
    let program = match direction {
        Direction::FourToSix => index::REPLY4,
        Direction::SixToFour => index::REPLY6,
    };
    go_on(ctx, program);
}

/// Goes on in another program; comes back only if the program array has no such program: a fault of the set-up.
#[inline(always)]
pub fn go_on(ctx: &XdpContext, program: u32) {
    // SAFETY: all programs of this object take the same context.
    unsafe { PROGRAMS.tail_call(ctx, program) };
}
