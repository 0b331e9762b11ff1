//! A BPF array in the daemon's own memory.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    slice,
    sync::atomic::AtomicU64,
};

use memmap2::{MmapOptions, MmapRaw};

use super::table::Memory;

/// A memory-mapped array (`BPF_F_MMAPABLE`).
pub(super) struct Mapping {
    map: MmapRaw,
}

impl Mapping {
    /// Maps the first `bytes` bytes of an array, a multiple of eight.
    pub(super) fn new(map: impl AsFd, bytes: usize) -> io::Result<Self> {
        Ok(Self { map: MmapOptions::new().len(bytes).map_raw(map.as_fd().as_raw_fd())? })
    }
}

impl Memory for Mapping {
    fn words(&self) -> &[AtomicU64] {
        // SAFETY: mapped for reading and writing as long as `self` lives, aligned to a page, and touched by nobody of this
        // process but through these atomics; the kernel's programs only read, but for the last word of an entry.
        unsafe { slice::from_raw_parts(self.map.as_mut_ptr().cast(), self.map.len() / size_of::<AtomicU64>()) }
    }
}
