//! Giving back what a whole table took on its way.

/// A list of so many bytes is a mapping of its own.
const LARGE: libc::c_int = 1 << 20;

/// Has the allocator take each large list from the kernel, and give it back with its end. It would begin to keep them in its heaps
/// once it has seen some come and go; what is small and stays then lies between them, and no page of theirs is free again.
pub(super) fn keep_large_lists_apart() {
    // SAFETY: it takes no pointer, and the allocator minds other threads itself.
    let done = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
    debug_assert_eq!(done, 1);
}

/// Gives the kernel back what nobody uses any more: the allocator would keep it for the next table.
pub(super) fn give_back() {
    // SAFETY: it takes no pointer and may be called at any time by any thread.
    unsafe { libc::malloc_trim(0) };
}

/// Gives it back at the end of what it is part of, however that ends.
pub(super) struct GiveBack;

impl Drop for GiveBack {
    fn drop(&mut self) {
        give_back();
    }
}
