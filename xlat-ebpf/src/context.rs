//! What a program has at hand: the packet, and this CPU's scratch record, looked up once.

use core::ops::Deref;

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};

use crate::{conclude::scratch, maps::Scratch};

/// The context of the XDP program with the scratch record.
pub struct Context {
    xdp: XdpContext,
    scratch: *mut Scratch,
}

impl Context {
    /// `None`: there is no scratch record, which the verifier has to be told.
    #[inline(always)]
    pub fn new(ctx: *mut xdp_md) -> Option<Self> {
        scratch().map(|scratch| Self { xdp: XdpContext::new(ctx), scratch })
    }

    /// This CPU's scratch record.
    #[inline(always)]
    pub fn scratch(&self) -> &'static mut Scratch {
        // SAFETY: a map value, valid for the whole run of the program; for the rest see `conclude::scratch`.
        unsafe { &mut *self.scratch }
    }
}

impl Deref for Context {
    type Target = XdpContext;

    #[inline(always)]
    fn deref(&self) -> &XdpContext {
        &self.xdp
    }
}
