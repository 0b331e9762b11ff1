//! Help for the verifier, which follows every path through the program with all it knows of each value.
//!
//! Where paths meet again that differ only by a small number (a count of VLAN tags, a way out), it would follow what comes
//! after once for each combination of such numbers, and there are too many. So a value that a few paths give as constants is
//! made unknown where they meet: from there on all of them are one. There are two ways:
//!
//! - [`forget`], for a number in a register. It does not help where the number decides an address, such as an index into a map:
//!   the verifier follows that back, through the arithmetic, to the constants that it began as.
//! - Through the scratch record and [`reload`]: the verifier does not follow a value through a map. So what many paths give and much
//!   depends on (the arrival, the mapped addresses, the way out, the result) is written there.

/// The same number, of which the verifier knows nothing any more. `unknown` is any number that it knows nothing of (one read
/// from the packet or the context): adding and subtracting it leaves nothing known. Two instructions.
#[inline(always)]
pub fn forget(number: u32, unknown: u32) -> u32 {
    let mut number = u64::from(number);
    // SAFETY: an addition and its reverse.
    unsafe {
        core::arch::asm!("{0} += {1}", "{0} -= {1}", inout(reg) number, in(reg) u64::from(unknown), options(pure, nomem, nostack));
    }
    number as u32
}

/// As [`forget`], for offsets into the packet; below 2^14 as it was.
#[inline(always)]
pub fn forget_offset(offset: usize, unknown: u32) -> usize {
    forget(offset as u32, unknown) as usize & crate::packet::MAX_OFFSET
}

/// The bits of a number under `MASK`, kept in by an instruction of its own: the compiler would leave the mask out where it has
/// compared the number before, be it another copy, and the verifier would see no bound.
#[inline(always)]
pub fn bounded<const MASK: u32>(number: u32) -> usize {
    let mut number = u64::from(number);
    // SAFETY: one logical operation.
    unsafe { core::arch::asm!("{0} &= {mask}", inout(reg) number, mask = const MASK, options(pure, nomem, nostack)) };
    number as usize
}

/// The same number, of which the compiler knows nothing any more, though the verifier does: a loop that it counts stays one, and is
/// not written out. One instruction.
#[inline(always)]
pub fn opaque(number: u32) -> u32 {
    let mut number = u64::from(number);
    // SAFETY: a register becomes what it is.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) number, options(pure, nomem, nostack)) };
    number as u32
}

/// What has been written to memory is read from there from here on; the compiler would keep it in registers. No instruction.
#[inline(always)]
pub fn reload() {
    // SAFETY: no instruction.
    unsafe { core::arch::asm!("", options(nostack, preserves_flags)) };
}
