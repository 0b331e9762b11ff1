//! Telling every program instance that the ways of packets may have changed, so that it forgets the next hops it has cached, or
//! that none has, so that they go on counting (`xlat_common::next_hop`).

use std::{
    fmt, io,
    mem::offset_of,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{
            AtomicU64,
            Ordering::{Relaxed, Release},
        },
    },
};

use tracing::warn;
use xlat_common::{
    interface::{Interface, MAX_IFINDEX},
    next_hop::{CHANGE, WORDS, WORDS_WRAP},
    state::State as Shared,
    table::TableHeader,
};

use super::{mapping::Mapping, table::Memory};

/// The word that the epoch follows from.
const WAY: usize = (offset_of!(Shared, header) + offset_of!(TableHeader, way)) / size_of::<u64>();
const _: () = assert!(offset_of!(TableHeader, way).is_multiple_of(size_of::<u64>()));
/// The records of the interfaces; flags are the lower half of a record's first word, and the parent that of its second.
const INTERFACES: usize = offset_of!(Shared, interfaces) / size_of::<u64>();
const _: () = assert!(offset_of!(Interface, flags) == 0 && offset_of!(Interface, parent) == size_of::<u64>());
/// The words of the destinations without an entry of their own.
pub(super) const DESTINATIONS: usize = offset_of!(Shared, destinations) / size_of::<u64>();

/// The program instances of this process, to be told of changes from whatever thread hears of them.
#[derive(Clone, Default)]
pub struct Ways(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Whether a way depends on the destination alone.
    cacheable: bool,
    /// How many are about to change what addresses map to.
    suspended: u32,
    instances: Vec<Instance>,
}

impl State {
    fn tell(&mut self) {
        let remembers = self.cacheable && self.suspended == 0;
        self.instances.iter_mut().for_each(|instance| instance.change(remembers));
    }
}

impl fmt::Debug for Ways {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Ways")
    }
}

impl Ways {
    /// Has every instance forget what it has cached. `cacheable`: whether a way depends on the destination alone; where it does
    /// not, nothing is cached from here on.
    pub fn changed(&self, cacheable: bool) {
        let mut state = self.lock();
        state.cacheable = cacheable;
        state.tell();
    }

    /// Has every instance forget what it has cached.
    pub(super) fn forget(&self) {
        self.lock().tell();
    }

    /// Has what every instance has cached go on counting for about a second: every change up to this moment has been told.
    pub fn unchanged(&self) {
        self.lock().instances.iter_mut().for_each(Instance::renew);
    }

    /// Whether an instance redirects packets to an interface: one that it need not be attached to.
    #[must_use]
    pub fn redirects_to(&self, ifindex: u32) -> bool {
        self.lock().instances.iter().any(|instance| instance.redirects_to(ifindex))
    }

    /// Changes what addresses map to, where the next hop of one may be cached elsewhere than in an entry of its own: nothing is
    /// cached meanwhile, and what has been before is forgotten. The change itself has to wait before and after for every packet
    /// that is on its way through the program.
    pub(super) fn without<T>(&self, change: impl FnOnce() -> T) -> T {
        /// Ends the suspension, whatever happens.
        struct Suspension<'a>(&'a Ways);
        impl Drop for Suspension<'_> {
            fn drop(&mut self) {
                let mut state = self.0.lock();
                state.suspended -= 1;
                state.tell();
            }
        }
        {
            let mut state = self.lock();
            state.suspended += 1;
            state.tell();
        }
        let _suspension = Suspension(self);
        change()
    }

    /// The instances that there still are.
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.instances.retain(|instance| instance.shared.strong_count() > 0);
        state
    }

    /// Adds an instance: the record beside its tables, and its program that renews.
    pub(super) fn add(&self, shared: &Arc<Mapping>, renew: OwnedFd) {
        let mut state = self.lock();
        let mut instance = Instance { shared: Arc::downgrade(shared), renew, way: CHANGE, failed: false };
        instance.change(state.cacheable && state.suspended == 0);
        // Nothing is remembered before: the clock counts from the last time on that this was said.
        instance.renew();
        state.instances.push(instance);
    }
}

/// One program instance.
struct Instance {
    shared: Weak<Mapping>,
    renew: OwnedFd,
    /// The word, as it was last seen while it counted.
    way: u64,
    /// Whether it has been said that the program cannot be run.
    failed: bool,
}

impl Instance {
    fn redirects_to(&self, ifindex: u32) -> bool {
        let Some(shared) = self.shared.upgrade() else { return false };
        let mut ifindex = ifindex;
        // The tags of a VLAN sub-interface are two at most.
        for _ in 0..3 {
            if ifindex >= MAX_IFINDEX {
                return false;
            }
            let record = INTERFACES + ifindex as usize * (size_of::<Interface>() / size_of::<u64>());
            let word = |at: usize| shared.words()[record + at].load(Relaxed) as u32;
            let flags = word(0);
            if flags & Interface::VLAN == 0 {
                return flags & Interface::CAN_REDIRECT != 0;
            }
            ifindex = word(1);
        }
        false
    }

    /// Nobody else stores the word: the programs that renew it run under the same lock.
    fn change(&mut self, remembers: bool) {
        let Some(shared) = self.shared.upgrade() else { return };
        let word = &shared.words()[WAY];
        let way = self.counting(word) + CHANGE;
        word.store(if remembers { way } else { 0 }, Release);
        self.reach(way, &shared);
    }

    fn renew(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        match run(&self.renew) {
            Ok(()) => {}
            // The clock goes on moving the epoch, at last so far that nothing counts: right, and slower.
            Err(error) if !self.failed => {
                self.failed = true;
                warn!("next hops are remembered for a second at most, or not at all, which is slower: {error}");
            }
            Err(_) => {}
        }
        let way = self.counting(&shared.words()[WAY]);
        self.reach(way, &shared);
    }

    /// The word, or what it was when it last counted.
    fn counting(&self, word: &AtomicU64) -> u64 {
        match word.load(Relaxed) {
            0 => self.way,
            way => way,
        }
    }

    /// Notes what the word is, and empties the destinations' words before an epoch comes whose lower bits were there before.
    fn reach(&mut self, way: u64, shared: &Mapping) {
        let before = std::mem::replace(&mut self.way, way);
        if before / WORDS_WRAP != way / WORDS_WRAP {
            shared.words()[DESTINATIONS..][..WORDS as usize].iter().for_each(|word| word.store(0, Relaxed));
        }
    }
}

/// Runs a program once on an empty frame: 2 µs. (The BPF library does so by its own program objects only, which live elsewhere.)
fn run(program: &OwnedFd) -> io::Result<()> {
    /// `bpf(2)` command (include/uapi/linux/bpf.h).
    const BPF_PROG_TEST_RUN: libc::c_int = 10;
    /// The first fields of `union bpf_attr` for it.
    #[repr(C)]
    struct Attributes {
        program: u32,
        return_value: u32,
        data_size_in: u32,
        data_size_out: u32,
        data_in: u64,
        data_out: u64,
        repeat: u32,
        duration: u32,
    }
    // An Ethernet header, the least that the kernel takes.
    let frame = [0_u8; 14];
    let mut attributes = Attributes {
        program: program.as_raw_fd().cast_unsigned(),
        return_value: 0,
        data_size_in: frame.len() as u32,
        data_size_out: 0,
        data_in: frame.as_ptr() as u64,
        data_out: 0,
        repeat: 1,
        duration: 0,
    };
    let size = size_of::<Attributes>();
    // SAFETY: the attributes are a prefix of union bpf_attr, whose length is given; frame and attributes live until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_TEST_RUN, &raw mut attributes, size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
