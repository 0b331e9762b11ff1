//! What the capture program shares: with the relay's programs their scratch record and counters, with the daemon the rest.

use aya_ebpf::{
    bindings::xdp_action,
    macros::map,
    maps::{Array, PerCpuArray, ProgramArray, RingBuf},
};
use xlat_common::{
    capture::{Filter, Head, SLOTS, Tallies, Tally},
    counters::Counters,
    outcome,
    reason::DropReason,
};

/// The scratch record of the programs in force, up to the result. Their map.
#[map]
static SCRATCH: PerCpuArray<[u32; outcome::PLACE + 1]> = PerCpuArray::with_max_entries(1, 0);
/// Their counters. Their map.
#[map]
static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);
/// The entry of the programs in force.
#[map]
pub static LIVE: ProgramArray = ProgramArray::with_max_entries(1, 0);
/// What the captures ask for, by slot.
#[map]
pub static FILTERS: Array<Filter> = Array::with_max_entries(SLOTS as u32, 0);
/// Their rate limits.
#[map]
pub static RATES: Array<u64> = Array::with_max_entries(SLOTS as u32, 0);
/// What they have counted.
#[map]
static TALLIES: PerCpuArray<Tallies> = PerCpuArray::with_max_entries(1, 0);
/// One packet's.
#[map]
static RECORD: PerCpuArray<Record> = PerCpuArray::with_max_entries(1, 0);
/// The way to the daemon, which sets its size.
#[map]
pub static PACKETS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// Written by the daemon before loading: 1: the kernel handles frames of several buffers (`Settings::multi_buffer`).
#[unsafe(no_mangle)]
static MULTI_BUFFER: u32 = 0;

/// [`MULTI_BUFFER`]. Volatile, since the compiler knows only the default.
#[inline(always)]
pub fn multi_buffer() -> bool {
    // SAFETY: a reference to read-only data of this object.
    unsafe { (&raw const MULTI_BUFFER).read_volatile() != 0 }
}

/// Room for the bytes of both frames; a power of two.
pub const ROOM: usize = 8192;

/// What is told of a packet, and what is known of it beside.
#[repr(C, align(8))]
pub struct Record {
    /// What is told: this, and after it bytes of both frames.
    pub head: Head,
    /// See `head`.
    pub bytes: [u8; ROOM],
    /// The addresses of the packet as it arrived.
    pub before: Addresses,
    /// The addresses of the packet as it left.
    pub after: Addresses,
    /// Bytes of a frame that are kept.
    pub snaplen: u32,
    /// Zero; keeps what follows aligned.
    pub reserved: u32,
    /// Frames passed as not the relay's, before this one.
    pub passed_other: u64,
    /// Packets dropped, by reason, before this one.
    pub drops: [u64; 32],
}

/// Addresses as they stand on the wire.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Addresses {
    /// 4, 6, or 0: not an IP packet.
    pub family: u32,
    /// Zero; keeps what follows aligned.
    pub reserved: u32,
    /// Source and destination; of IPv4 the first word of each.
    pub both: [[u32; 4]; 2],
}

/// This CPU's record.
#[inline(always)]
pub fn record() -> Option<&'static mut Record> {
    // SAFETY: per CPU, and programs are not preempted by each other on one CPU. Functions of this program that are called with
    // one at hand look it up again, as the verifier demands; no reference is used after such a call but for what it has changed.
    RECORD.get_ptr_mut(0).map(|record| unsafe { &mut *record })
}

/// This CPU's counters of the programs in force.
#[inline(always)]
pub fn counters() -> Option<&'static mut Counters> {
    // SAFETY: as above.
    COUNTERS.get_ptr_mut(0).map(|counters| unsafe { &mut *counters })
}

/// This CPU's tally of a slot.
#[inline(always)]
pub fn tally(slot: usize) -> Option<&'static mut Tally> {
    // SAFETY: as above.
    TALLIES.get_ptr_mut(0).and_then(|tallies| unsafe { (*tallies).0.get_mut(slot) })
}

/// Where the programs in force leave what became of a packet.
#[inline(always)]
pub fn result() -> Option<*mut u32> {
    // SAFETY: a place within the map's value.
    SCRATCH.get_ptr_mut(0).map(|scratch| unsafe { scratch.cast::<u32>().add(outcome::PLACE) })
}

/// Counts a packet whose program is not there, and drops it, as the programs in force do.
#[inline(always)]
pub fn count_no_program() -> u32 {
    if let Some(counters) = counters() {
        counters.drops[DropReason::Internal as usize & 31] += 1;
    }
    xdp_action::XDP_DROP
}
