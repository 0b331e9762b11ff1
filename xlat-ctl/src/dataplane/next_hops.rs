//! Giving back the places of next hops: the program stores one in a place that is free and never takes it away
//! (`xlat_common::next_hop`), and in a year of new machines on the link all would be taken.

use std::{
    mem::offset_of,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use xlat_common::{next_hop::PLACES, state::State};

use super::{DataPlane, table::Memory};

/// Where the next hops begin in the record beside the tables.
pub(super) const NEXT_HOPS: usize = offset_of!(State, next_hops) / size_of::<u64>();
/// As long as no more than half are taken, nearly every next hop finds a place near where it is looked for.
const MANY: usize = PLACES as usize / 2;
/// Where there really are that many, they are not given back all the time.
const RARELY: Duration = Duration::from_secs(3600);

impl DataPlane {
    /// Gives all places back if more than half are taken, once an hour at most: who is still sent to gets one again with its next
    /// packet. Gives how many there were.
    pub fn give_back_next_hops(&mut self) -> Option<usize> {
        let hops = &self.state.words()[NEXT_HOPS..][..PLACES as usize];
        let taken = hops.iter().filter(|hop| hop.load(Relaxed) != 0).count();
        if taken <= MANY || self.gave_back.is_some_and(|last| last.elapsed() < RARELY) {
            return None;
        }
        self.gave_back = Some(Instant::now());
        let (ways, grace) = (self.ways.as_ref()?, &mut self.grace);
        ways.without(|| {
            // Whoever was told before that next hops are remembered has ended then: nobody looks into a place, or takes one.
            grace.wait();
            hops.iter().for_each(|hop: &AtomicU64| hop.store(0, Relaxed));
        });
        Some(taken)
    }
}
