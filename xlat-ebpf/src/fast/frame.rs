//! The start of a frame, checked once and then read and written at places the compiler checks.

use aya_ebpf::programs::XdpContext;

use crate::packet;

/// The first `LEN` bytes of a frame, in its linear part.
#[derive(Clone, Copy)]
pub struct Frame<const LEN: usize>(*mut u8);

/// The lower six bytes of a word: a link-layer address as it stands on the wire.
pub const MAC: u64 = 0xffff_ffff_ffff;

impl<const LEN: usize> Frame<LEN> {
    /// `None`: the frame is shorter.
    #[inline(always)]
    pub fn new(ctx: &XdpContext) -> Option<Self> {
        packet::at::<[u8; LEN]>(ctx, 0).map(|place| Self(place.cast()))
    }

    /// The `T` at `AT`, as it stands on the wire.
    #[inline(always)]
    pub fn read<T: Copy, const AT: usize>(self) -> T {
        const { assert!(AT + size_of::<T>() <= LEN) };
        // SAFETY: within what `new` has checked; alignment: see `packet::at`.
        unsafe { *self.0.add(AT).cast::<T>() }
    }

    /// Writes a `T` at `AT`, as it is to stand on the wire.
    #[inline(always)]
    pub fn write<T: Copy, const AT: usize>(self, value: T) {
        const { assert!(AT + size_of::<T>() <= LEN) };
        // SAFETY: as in `read`.
        unsafe { *self.0.add(AT).cast::<T>() = value }
    }

    /// Destination address of the Ethernet header, in the lower six bytes.
    #[inline(always)]
    pub fn destination(self) -> u64 {
        self.read::<u64, 0>() & MAC
    }

    /// Its EtherType, host order.
    #[inline(always)]
    pub fn ether_type(self) -> u16 {
        u16::from_be(self.read::<u16, 12>())
    }

    /// Writes an Ethernet header; the addresses in the lower six bytes.
    #[inline(always)]
    pub fn write_ethernet(self, destination: u64, source: u64, ether_type: u16) {
        self.write::<u64, 0>(destination);
        self.write::<u64, 6>(source | u64::from(ether_type.to_be()) << 48);
    }
}
