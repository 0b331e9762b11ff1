//! Telling every program instance that the ways of packets may have changed, so that it forgets the next hops it has cached
//! (`xlat_common::next_hop`).

use std::{
    fmt,
    mem::offset_of,
    sync::{Arc, Mutex, PoisonError, Weak, atomic::Ordering::Release},
};

use xlat_common::{state::State as Shared, table::TableHeader};

use super::{mapping::Mapping, table::Memory};

/// The word that says how many changes there were.
const WORD: usize = (offset_of!(Shared, header) + offset_of!(TableHeader, way_changes)) / size_of::<u64>();
const _: () = assert!(offset_of!(TableHeader, way_changes).is_multiple_of(size_of::<u64>()));

/// The program instances of this process, to be told of changes from whatever thread hears of them.
#[derive(Clone, Default)]
pub struct Ways(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    changes: u64,
    cacheable: bool,
    headers: Vec<Weak<Mapping>>,
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
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.changes += 1;
        state.cacheable = cacheable;
        let word = state.word();
        state.headers.retain(|header| header.upgrade().is_some_and(|header| store(&header, word)));
    }

    /// Adds an instance, by the record beside its tables.
    pub(super) fn add(&self, header: &Arc<Mapping>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        store(header, state.word());
        state.headers.push(Arc::downgrade(header));
    }
}

impl State {
    fn word(&self) -> u64 {
        if self.cacheable { self.changes } else { 0 }
    }
}

fn store(header: &Mapping, word: u64) -> bool {
    header.words()[WORD].store(word, Release);
    true
}
