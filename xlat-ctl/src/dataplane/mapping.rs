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

/// Waits until every program that was running on any CPU has finished.
pub(super) fn wait_for_readers() {
    /// `MEMBARRIER_CMD_GLOBAL`: `synchronize_rcu()`, and programs run inside RCU read sections.
    const GLOBAL: libc::c_int = 1;
    /// Far more than one program run takes, for kernels with `nohz_full`, where the call is not to be had.
    const LONG: std::time::Duration = std::time::Duration::from_millis(200);
    // SAFETY: a system call with numbers only.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
    if result != 0 {
        std::thread::sleep(LONG);
    }
}
