//! The maps and the settings: everything the program shares with the daemon, and what its parts hand each other.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, bpf_fib_lookup},
    macros::map,
    maps::{Array, HashMap, PerCpuArray, ProgramArray},
};
use xlat_common::{
    account::Record,
    counters::Counters,
    interface::{MacKey, VlanKey},
    programs,
    settings::Settings,
    state::State,
    table::Bucket,
};

/// IPv4 addresses: what is known of each prefix. The daemon sets the size before loading.
#[map]
pub static TABLE4: Array<Bucket> = Array::with_max_entries(64, BPF_F_MMAPABLE);
/// IPv6 addresses: what is known of each prefix. The daemon sets the size before loading.
#[map]
pub static TABLE6: Array<Bucket> = Array::with_max_entries(64, BPF_F_MMAPABLE);
/// What lies beside the tables.
#[map]
pub static STATE: Array<State> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// VLAN sub-interfaces by device and tag.
#[map]
pub static VLANS: HashMap<VlanKey, u32> = HashMap::with_max_entries(8192, 0);
/// Link-layer addresses of the machine.
#[map]
pub static MACS: HashMap<MacKey, u8> = HashMap::with_max_entries(4096, 0);
/// One record per CPU.
#[map]
pub static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);
/// What the instances before this one counted. The daemon's own: no program touches it.
#[map]
pub static CARRIED: Array<Counters> = Array::with_max_entries(1, 0);
/// What is counted for single EAMs, in parts: one for each CPU, and one of the daemon's own. The daemon sets the size before
/// loading.
#[map]
pub static ACCOUNTS: Array<Record> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// One record per CPU.
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);
/// Rate limits, by [`limit`].
#[map]
pub static LIMITS: Array<u64> = Array::with_max_entries(2, 0);
/// Rare packets' programs, by `xlat_common::programs::index`.
#[map]
pub static PROGRAMS: ProgramArray = ProgramArray::with_max_entries(programs::index::COUNT, 0);

use crate::{conclude::Tally, forward::Way, header4::Header4, link::Arrival, lookup::Both6};

/// Places in [`LIMITS`].
pub mod limit {
    /// ICMP errors of the relay's own.
    pub const ICMP_ERRORS: u32 = 0;
    /// Logged events.
    pub const EVENTS: u32 = 1;
}

/// Bytes of the scratch buffer; a power of two not under the longest extension structure that is kept.
pub const BUFFER_LEN: usize = 2048;

/// What one program leaves for the next, and room to move bytes through.
#[repr(C, align(8))]
pub struct Scratch {
    /// The ICMP error to answer with: type, code, second word (host order).
    pub answer: Answer,
    /// What the packet is counted as.
    pub tally: Tally,
    /// What has become of it, as `conclude` has it.
    pub result: u32,
    /// Zero; keeps what follows aligned.
    pub reserved: u32,
    /// How the frame arrived.
    pub arrival: Arrival,
    /// What `lookup::map_both4` has found.
    pub both: Both6,
    /// The next hop that the routing table has just named, if it may be remembered; else 0.
    pub hop: u64,
    /// The question to the routing table; here because it is an eighth of the stack.
    pub fib: bpf_fib_lookup,
    /// The answer: the way out.
    pub way: Way,
    /// The IPv4 headers of an ICMP error, as received, by `header4::Place`.
    pub headers: [Header4; 2],
    /// How an ICMP error is to be rewritten. Here, as the headers, because the stack has no room for four addresses in two
    /// families and all that follows from them.
    pub plan: Plan,
    /// The outer header of an ICMP error to come, in host order, lengths and hop limit still zero.
    pub outer: [u64; 5],
    /// The inner headers of an ICMP error to come, in host order.
    pub inner: [u64; 6],
    /// Room for bytes of the packet.
    pub buffer: [u8; BUFFER_LEN],
}

// The capture program reads the result from here.
const _: () = assert!(core::mem::offset_of!(Scratch, result) == 4 * xlat_common::outcome::PLACE);

/// How an ICMP error is to be rewritten: what its reading leaves for its writing. Offsets are from the frame's start.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Plan {
    /// Where the ICMP header is.
    pub message_at: u32,
    /// Bytes of the ICMP message.
    pub message_len: u32,
    /// Where the rest of the inner packet is, after its headers.
    pub rest_at: u32,
    /// Bytes of the original-datagram field.
    pub original: u32,
    /// Bytes of the inner headers to come.
    pub inner_len: u32,
    /// Bytes kept of the inner packet after its headers.
    pub rest: u32,
    /// Zero bytes after them.
    pub padding: u32,
    /// Bytes kept of the extension structure.
    pub extension: u32,
    /// Length attribute to come, in its unit.
    pub attribute: u32,
    /// Type and code to come, as the header's first 16 bits.
    pub kind_code: u32,
    /// What the second word becomes: one of the constants in `icmp_error`.
    pub second: u32,
    /// The pointer to come, or the MTU received (after the plateau table).
    pub number: u32,
    /// Type of an inner echo to come.
    pub inner_icmp_type: u32,
    /// Protocol of the inner packet, as received.
    pub inner_protocol: u32,
    /// Bytes there are of the inner packet after its headers, 0 if its transport header is elsewhere.
    pub inner_available: u32,
    /// What the outer checksum changes by, as far as it is known.
    pub delta: u32,
    /// What the inner transport checksum changes by.
    pub inner_delta: u32,
    /// Bytes of an extension to be appended.
    pub more: u32,
    /// 1: the inner packet has a Fragment Header.
    pub has_fragment: u32,
    /// 1: the outer packet has a Fragment Header (an atomic one), with this Identification.
    pub outer_fragment: u32,
    /// See `outer_fragment`.
    pub identification: u32,
    /// 1: a second pass follows (RFC 7757 4.2.2).
    pub hairpinned: u32,
}

/// An ICMP error of the relay's own.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Answer {
    /// ICMP or ICMPv6 type.
    pub kind: u32,
    /// ICMP or ICMPv6 code.
    pub code: u32,
    /// Pointer or MTU as they stand in the header's second word, host order.
    pub rest: u32,
}

/// Written by the daemon before loading.
#[unsafe(no_mangle)]
static SETTINGS: Settings = Settings::DEFAULT;

/// Reads one field of the settings; see [`setting!`].
#[inline(always)]
pub fn read_setting<T: Copy + 'static>(field: impl FnOnce(&'static Settings) -> &'static T) -> T {
    let place = core::ptr::from_ref(field(&SETTINGS));
    // SAFETY: a reference to read-only data of this object.
    unsafe { place.read_volatile() }
}

/// One field of the settings. Volatile, since the compiler knows only the defaults; the verifier knows the real values
/// and removes the branches that are off.
#[macro_export]
macro_rules! setting {
    ($($field:tt)+) => { $crate::maps::read_setting(|settings| &settings.$($field)+) };
}
