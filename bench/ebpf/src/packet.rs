//! Access to the packet's bytes.

use aya_ebpf::programs::XdpContext;

/// A pointer to a `T` at `offset` of the frame, if it lies within the linear part. At any alignment.
#[inline(always)]
pub fn at<T>(ctx: &XdpContext, offset: usize) -> Option<*mut T> {
    let start = ctx.data() + offset;
    if start + size_of::<T>() > ctx.data_end() { None } else { Some(start as *mut T) }
}
