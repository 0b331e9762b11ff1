//! What the bench shares with its XDP programs: the layout of their maps.
#![no_std]

/// Words of eight bytes that a template's header has at most.
pub const HEADER_WORDS: usize = 18;
/// Templates that a schedule can name.
pub const TEMPLATES: u32 = 16;
/// Steps of the longest schedule.
pub const STEPS: u32 = 1 << 21;
/// Steps after it, for the packets that others are compared with.
pub const MORE_STEPS: u32 = 16;
/// Bytes of a frame, beside headers, in which a time is stamped.
pub const STAMP_LEN: usize = 8;
/// Places of a histogram of times.
pub const HISTOGRAM: u32 = 64 * HISTOGRAM_PARTS;
/// Places between a power of two and the next.
pub const HISTOGRAM_PARTS: u32 = 128;
/// Dependent reads in one run of the program that measures memory.
pub const CHASES: u32 = 16;

/// The start of a packet, written into each frame anew. As on the wire.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Template {
    /// Ethernet header and what follows, with zeros in place of what a step gives.
    pub header: [u64; HEADER_WORDS],
    /// Words of `header` that are written: 7, 10 or all.
    pub words: u32,
    /// [`Template::IPV4`], [`Template::IPV6`], or 0: nothing in it changes from packet to packet.
    pub family: u32,
    /// Where the transport checksum is, bytes from the frame's start; 0: there is none, or it does not cover the addresses.
    pub checksum_at: u32,
    /// The ones' complement sum that it is the complement of, without the addresses that steps give.
    pub checksum: u32,
    /// The same of the IPv4 header.
    pub header_checksum: u32,
    /// Zero.
    pub reserved: u32,
}

impl Template {
    /// In `family`: from an IPv4 client to a service.
    pub const IPV4: u32 = 4;
    /// In `family`: from a service to an IPv4 client.
    pub const IPV6: u32 = 6;
    /// An empty one.
    pub const NONE: Self = Self {
        header: [0; HEADER_WORDS],
        words: 0,
        family: 0,
        checksum_at: 0,
        checksum: 0,
        header_checksum: 0,
        reserved: 0,
    };
}

/// One packet to be made.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The service: IPv4 address, and last 32 bits of the IPv6 address; as on the wire.
    pub service: u32,
    /// The same of the client.
    pub client: u32,
    /// Which template.
    pub template: u32,
    /// Bytes of the frame.
    pub len: u32,
}

/// What the programs are to do; changed between two measurements only.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    /// The interface that generated frames are sent into.
    pub generate_into: u32,
    /// The interface that the bare redirect sends into.
    pub redirect_into: u32,
    /// Nanoseconds between two batches of frames; 0: as fast as it goes.
    pub pace: u64,
    /// Frames of a batch.
    pub batch: u32,
    /// 1: frames are stamped with the time, and the sink keeps a histogram.
    pub stamp: u32,
    /// The first step that is taken.
    pub first_step: u32,
    /// Steps that are taken over and over again, minus one: a power of two minus one.
    pub step_mask: u32,
}

/// What one CPU remembers from frame to frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct State {
    /// Steps taken.
    pub position: u64,
    /// Where a frame began in memory when it was first seen; 0: not seen yet.
    pub start: u64,
    /// Room to move numbers through.
    pub scratch: u64,
    /// Runs counted by the program that measures.
    pub runs: u64,
    /// When the next batch is due, nanoseconds of the kernel's monotonic clock.
    pub due: u64,
    /// Where the walk through memory has come to.
    pub place: u64,
    /// Zero; a cache line in all.
    pub reserved: [u64; 2],
}

/// Words of eight bytes of a [`Numbered`] frame: 64 bytes.
pub const NUMBERED_WORDS: usize = 8;
/// Most numbered frames that take turns.
pub const NUMBERED_FRAMES: u32 = 1024;
/// Numbers that are remembered: eleven minutes at 200,000 a second.
pub const NUMBERS: u32 = 1 << 27;
/// Fingerprints in one element of the array of numbers: a page.
pub const NUMBERS_PER_PAGE: u32 = 1024;
/// In place of a fingerprint: the number came more than once.
pub const TWICE: u32 = u32::MAX;

/// A frame that gets a number before it is sent: Ethernet, IPv4 and UDP without options, as on the wire.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Numbered {
    /// The frame, zeros in place of number and UDP checksum.
    pub bytes: [u64; NUMBERED_WORDS],
    /// Sum of the words that the checksum covers.
    pub sum: u32,
    /// Zero.
    pub reserved: u32,
}

/// What the numbering program is to do.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Numbering {
    /// The number of the next frame.
    pub next: u64,
    /// The interface that frames are sent into.
    pub into: u32,
    /// Frames that take turns.
    pub frames: u32,
}

/// What is remembered of a translated packet's addresses, each in two halves in host order: never 0 or [`TWICE`].
#[inline(always)]
#[must_use]
pub const fn fingerprint(source: [u64; 2], destination: [u64; 2]) -> u32 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = 0u64;
    let words = [source[0], source[1], destination[0], destination[1]];
    let mut at = 0;
    while at < 4 {
        hash = (hash ^ words[at]).wrapping_mul(FACTOR);
        hash ^= hash >> 29;
        at += 1;
    }
    1 + (hash >> 33) as u32 % (TWICE / 2)
}

/// What has come to the far end, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    /// IPv4 packets.
    pub ipv4: u64,
    /// IPv6 packets.
    pub ipv6: u64,
    /// Other frames.
    pub other: u64,
    /// Zero.
    pub reserved: u64,
}

/// The place of a time in the histogram, nanoseconds.
#[inline(always)]
#[must_use]
pub const fn place_of(nanoseconds: u64) -> u32 {
    let shift = 63 - (nanoseconds | HISTOGRAM_PARTS as u64).leading_zeros();
    let part = (nanoseconds >> (shift - HISTOGRAM_PARTS.trailing_zeros())) as u32 & (HISTOGRAM_PARTS - 1);
    shift * HISTOGRAM_PARTS + part
}

/// The middle of the times of a place, nanoseconds.
#[must_use]
pub const fn time_of(place: u32) -> u64 {
    let (shift, part) = (place / HISTOGRAM_PARTS, place % HISTOGRAM_PARTS);
    if shift < HISTOGRAM_PARTS.trailing_zeros() {
        return 0;
    }
    let step = shift - HISTOGRAM_PARTS.trailing_zeros();
    (((HISTOGRAM_PARTS + part) as u64) << step) + (1 << step) / 2
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), only integers, no padding: every eight-byte field stands at a multiple of eight.
    unsafe impl aya::Pod for super::Template {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Step {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Setup {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::State {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Arrived {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Numbered {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Numbering {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_tell_times_apart_by_a_128th() {
        for time in [128, 129, 999, 12_345, 1_000_000, 7_777_777_777] {
            let middle = time_of(place_of(time));
            assert!(middle.abs_diff(time) <= time / 128, "{time} became {middle}");
        }
        assert!(place_of(u64::MAX) < HISTOGRAM);
    }
}
