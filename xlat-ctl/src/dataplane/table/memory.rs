//! The memory that the tables lie in, and the waiting until no reader looks at the old any more.

use std::sync::atomic::AtomicU64;

/// Memory that one thread writes and any number of readers look at meanwhile.
pub(crate) trait Memory: Send + Sync {
    /// All of it, as words.
    fn words(&self) -> &[AtomicU64];
}

/// Grace periods: after [`Grace::wait`] every reader that was at work before has finished.
pub(crate) struct Grace {
    wait: Box<dyn FnMut() + Send>,
    /// Whether there are readers at all.
    readers: bool,
    passed: u64,
}

impl Grace {
    /// `wait` returns when every reader that was at work when it was called has finished.
    pub(crate) fn new(wait: impl FnMut() + Send + 'static) -> Self {
        Self { wait: Box::new(wait), readers: false, passed: 0 }
    }

    /// Says whether anybody reads the tables. As long as nobody does, there is nothing to wait for.
    pub(crate) fn set_readers(&mut self, readers: bool) {
        self.readers = readers;
    }

    /// Whether somebody reads the tables.
    pub(crate) fn has_readers(&self) -> bool {
        self.readers
    }

    /// Waits for a grace period.
    pub(crate) fn wait(&mut self) {
        if self.readers {
            (self.wait)();
        }
        self.passed += 1;
    }

    /// How many grace periods have passed.
    pub(crate) fn passed(&self) -> u64 {
        self.passed
    }
}
