//! Waiting until every program that was running on any CPU has finished.
//!
//! An XDP program runs with the CPU's bottom halves switched off. Except on a kernel with PREEMPT_RT such a CPU does not
//! change to another task before the program has ended: a thread that has been on a CPU knows that every program that ran
//! there before has finished, and what it read is read. So one thread goes round all CPUs, which takes some ten
//! microseconds for each, where a grace period of RCU takes milliseconds. The change of CPU is a full memory barrier, so that
//! programs that begin there afterwards see what was stored before.
//!
//! Where that does not hold or does not work (PREEMPT_RT, a CPU that this process may not use, one that is too busy to come to
//! in time), `membarrier` waits for a grace period of RCU; programs run inside RCU's read sections on every kernel.

use std::{
    fs,
    io::ErrorKind,
    sync::{
        Mutex, OnceLock, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use nix::{
    sched::{CpuSet, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};
use tracing::warn;

/// How long is waited for the round: a CPU that is busy with real-time tasks may not be come to for long.
const PATIENCE: Duration = Duration::from_millis(20);
/// The CPUs that can run programs, as ranges.
const ONLINE: &str = "/sys/devices/system/cpu/online";

/// Waits until every program that was running on any CPU has finished.
pub(super) fn wait() {
    static VISITOR: OnceLock<Option<Mutex<Visitor>>> = OnceLock::new();
    let visitor = VISITOR.get_or_init(|| if is_preempt_rt() { None } else { Visitor::new().map(Mutex::new) });
    let visited =
        visitor.as_ref().is_some_and(|visitor| visitor.lock().unwrap_or_else(PoisonError::into_inner).go_round());
    if !visited {
        wait_for_rcu();
    }
}

/// Whether programs can be interrupted by other tasks.
pub(super) fn is_preempt_rt() -> bool {
    match fs::read_to_string("/sys/kernel/realtime") {
        Ok(text) => text.trim() != "0",
        // Only kernels with PREEMPT_RT have the file.
        Err(error) => error.kind() != ErrorKind::NotFound,
    }
}

/// A thread that goes round the CPUs, so that nobody else is moved or has to wait longer than they want.
struct Visitor {
    rounds: Sender<u64>,
    done: Receiver<(u64, bool)>,
    /// The number of the last round that was asked for.
    last: u64,
    /// Whether that round is not over.
    away: bool,
}

impl Visitor {
    fn new() -> Option<Self> {
        let (rounds, asked) = channel::<u64>();
        let (tell, done) = channel();
        let work = move || {
            hurry();
            asked.into_iter().try_for_each(|round| tell.send((round, visit_all())))
        };
        let thread = thread::Builder::new().name("visitor".to_owned()).spawn(work);
        thread
            .inspect_err(|error| warn!("waiting for programs takes longer: no thread: {}", crate::plain(error)))
            .ok()?;
        Some(Self { rounds, done, last: 0, away: false })
    }

    /// Whether all CPUs were visited after the call and in time.
    fn go_round(&mut self) -> bool {
        if self.away && self.done.try_recv().is_err() {
            return false;
        }
        self.last += 1;
        self.away = self.rounds.send(self.last).is_ok();
        if !self.away {
            return false;
        }
        match self.done.recv_timeout(PATIENCE) {
            Ok((round, all)) => {
                self.away = false;
                all && round == self.last
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => false,
        }
    }
}

/// Has the calling thread wait as little as possible for other tasks of a busy CPU. Without the right to that it waits longer.
fn hurry() {
    const MOST: libc::c_int = -20;
    // SAFETY: a system call with numbers only; on Linux it is for the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, MOST) };
}

/// Brings the calling thread to every CPU that is online, one after the other. `false`: to one of them it could not come.
fn visit_all() -> bool {
    let online = || fs::read_to_string(ONLINE).ok().and_then(|text| cpus(&text));
    let Some(before) = online() else { return false };
    // One that came meanwhile has run no program that was running before; one that went is not there to be visited.
    before.iter().all(|cpu| visit(*cpu) || online().is_some_and(|online| !online.contains(cpu)))
}

fn visit(cpu: usize) -> bool {
    let mut only = CpuSet::new();
    let this_thread = Pid::from_raw(0);
    // A change of the cpuset at the same time may undo the choice: what counts is where the thread is.
    only.set(cpu).and_then(|()| sched_setaffinity(this_thread, &only)).is_ok() && sched_getcpu() == Ok(cpu)
}

/// The CPUs in a list as the kernel writes it: `0-3,8`.
fn cpus(text: &str) -> Option<Vec<usize>> {
    let mut all = Vec::new();
    for range in text.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        all.extend(first.parse().ok()?..=last.parse::<usize>().ok()?);
    }
    Some(all)
}

/// Waits for a grace period of RCU.
fn wait_for_rcu() {
    /// `MEMBARRIER_CMD_GLOBAL`: `synchronize_rcu()`, and programs run inside RCU read sections.
    const GLOBAL: libc::c_int = 1;
    /// Far more than one program run takes, for kernels with `nohz_full`, where the call is not to be had.
    const LONG: Duration = Duration::from_millis(200);
    // SAFETY: a system call with numbers only.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
    if result != 0 {
        thread::sleep(LONG);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_list_of_cpus() {
        assert_eq!(cpus("0-1\n"), Some(vec![0, 1]));
        assert_eq!(cpus("0,2-4,63\n"), Some(vec![0, 2, 3, 4, 63]));
        assert_eq!(cpus("\n"), None);
        assert_eq!(cpus("0-x"), None);
    }

    #[test]
    fn comes_to_every_cpu_and_to_no_other() {
        thread::spawn(|| {
            let online = fs::read_to_string(ONLINE).unwrap();
            for cpu in cpus(&online).unwrap() {
                assert!(visit(cpu), "CPU {cpu} of {online}");
                assert_eq!(sched_getcpu(), Ok(cpu));
            }
            assert!(visit_all());
            assert!(!visit(CpuSet::count() - 1), "the last CPU that can be named is there");
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_round_that_takes_too_long_is_not_counted_for_a_later_one() {
        let (rounds, asked) = channel::<u64>();
        let (tell, done) = channel();
        let mut visitor = Visitor { rounds, done, last: 0, away: false };
        assert!(!visitor.go_round(), "nobody went");
        assert!(!visitor.go_round(), "the first round is not over");
        // The first one ends at last; what the second will say is there already, so that nobody can be late.
        (1..=2).for_each(|round| tell.send((round, true)).unwrap());
        assert!(visitor.go_round());
        assert_eq!(asked.try_iter().collect::<Vec<_>>(), [1, 2]);
        drop((asked, tell));
        assert!(!visitor.go_round(), "the thread has ended");
    }
}
