//! Patience with a machine that has more to do than the tests.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// What the first try that is right gives, of so many at most: a stall of the machine fails one, a defect all of them.
///
/// # Panics
/// All fail: what each said.
#[track_caller]
pub fn best_of<T>(tries: usize, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let mut said = Vec::new();
    for _ in 0..tries {
        match attempt() {
            Ok(outcome) => return outcome,
            Err(failure) => said.push(failure),
        }
    }
    panic!("each of {tries} tries failed:\n{}", said.join("\n"));
}

/// Waits until something is so, for so long at most; `false`: it is not. It is looked at once more after that time.
pub fn is_within(most: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    loop {
        let is_last = begin.elapsed() >= most;
        if is_so() {
            return true;
        }
        if is_last {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Sets a flag when it is dropped, at a panic too: a thread that goes on until it is set would be waited for for ever.
#[derive(Debug)]
pub struct SetAtEnd<'flag>(pub &'flag AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
