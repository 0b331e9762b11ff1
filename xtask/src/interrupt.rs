//! Ctrl-C, SIGTERM and a terminal that goes as a flag, so that what a verb made is removed before it ends.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};

static CAUGHT: AtomicBool = AtomicBool::new(false);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// From here on they no longer end this process; [`check`] tells of them.
///
/// `false`: that is so already.
pub(crate) fn catch() -> bool {
    let is_new = !CAUGHT.swap(true, Ordering::Relaxed);
    if is_new {
        handle_by(note as extern "C" fn(libc::c_int) as libc::sighandler_t);
    }
    is_new
}

/// Takes [`catch`] back.
pub(crate) fn release() {
    CAUGHT.store(false, Ordering::Relaxed);
    handle_by(libc::SIG_DFL);
}

fn handle_by(handler: libc::sighandler_t) {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores to an atomic, which is allowed in a signal handler.
        let before = unsafe { libc::signal(signal, handler) };
        if before == libc::SIG_IGN {
            // As `nohup` wants it.
            // SAFETY: as above.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
    }
}

/// Fails once somebody wants this process to end.
pub(crate) fn check() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    Ok(())
}
