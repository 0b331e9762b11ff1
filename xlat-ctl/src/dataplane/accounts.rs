//! What is counted for single EAMs (`xlat_common::account`): reading it, and carrying it from one program instance to the next.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use aya::{
    Ebpf,
    maps::{Map, MapData},
};
use xlat_common::{
    account::Record,
    counters::{Direction, Traffic},
    table::Bucket,
};

use super::{
    DataPlane, Eam,
    error::DataPlaneError,
    mapping::Mapping,
    pins::{Instance, Pins},
    table::{self, Memory as _},
};

/// Words of a record.
const WORDS: usize = size_of::<Record>() / size_of::<u64>();

/// The parts of the array: how many there are, the daemon's own included.
pub(super) fn parts() -> Result<u32, DataPlaneError> {
    let cpus = aya::util::nr_cpus().map_err(|(what, error)| DataPlaneError::Kernel {
        what: format!("find out the number of CPUs ({what})"),
        reason: error.to_string(),
    })?;
    Ok(cpus as u32 + 1)
}

/// The array in this process' memory.
pub(super) struct Accounts {
    memory: Mapping,
    /// Accounts of each part.
    places: usize,
}

impl Accounts {
    /// The array of a loaded object. `None`: nothing is counted for single EAMs.
    pub(super) fn of_object(ebpf: &Ebpf, places: u32) -> Result<Option<Self>, DataPlaneError> {
        if places == 0 {
            return Ok(None);
        }
        let Some(Map::Array(map)) = ebpf.map("ACCOUNTS") else {
            return Err(DataPlaneError::Object("map ACCOUNTS is missing".to_owned()));
        };
        Self::new(map, places as usize).map(Some)
    }

    fn new(map: &MapData, places: usize) -> Result<Self, DataPlaneError> {
        let bytes = places * parts()? as usize * size_of::<Record>();
        let memory =
            Mapping::new(map.fd(), bytes).map_err(|error| DataPlaneError::new("map ACCOUNTS into memory", &error))?;
        Ok(Self { memory, places })
    }

    /// What has been counted for an account since it was last asked.
    fn collect(&self, account: u32) -> Record {
        let parts = self.parts();
        let (cpus, collected) = parts.split_at(parts.len() - 1);
        let at = account as usize * WORDS;
        let mut more = [0; WORDS];
        for (index, more) in more.iter_mut().enumerate() {
            let word = &collected[0][at + index];
            // Each CPU's word only grows.
            let sum = cpus.iter().fold(0_u64, |sum, part| sum.wrapping_add(part[at + index].load(Relaxed)));
            *more = sum.wrapping_sub(word.load(Relaxed));
            if *more != 0 {
                word.store(sum, Relaxed);
            }
        }
        record(more)
    }

    /// Sets an account to zero that no packet counts for any more.
    fn clear(&self, account: u32) {
        for part in self.parts() {
            let at = account as usize * WORDS;
            part[at..at + WORDS].iter().for_each(|word| word.store(0, Relaxed));
        }
    }

    /// Sets every account under `end` to zero: for an instance that no packet has met.
    pub(super) fn clear_all(&self, end: u32) {
        (0..end).filter(|account| self.collect(*account) != Record::default()).for_each(|account| self.clear(account));
    }

    fn parts(&self) -> Vec<&[AtomicU64]> {
        self.memory.words().chunks_exact(self.places * WORDS).collect()
    }
}

fn record([packets4, bytes4, packets6, bytes6]: [u64; WORDS]) -> Record {
    let mut record = Record::default();
    record.traffic[Direction::FourToSix as usize] = Traffic { packets: packets4, bytes: bytes4 };
    record.traffic[Direction::SixToFour as usize] = Traffic { packets: packets6, bytes: bytes6 };
    record
}

/// What an older instance, which no packet meets any more, has counted since it was last collected. Empty: it counts in another way,
/// or not at all.
pub(super) fn rest_of(pins: &Pins, instance: &Instance) -> Vec<(Option<Eam>, Record)> {
    let map = |name: &str| MapData::from_pin(pins.map_path(instance, name)).ok();
    let (Some(table6), Some(accounts)) = (map("TABLE6"), map("ACCOUNTS")) else { return Vec::new() };
    read_rest(&table6, &accounts).unwrap_or_default()
}

fn read_rest(table6: &MapData, accounts: &MapData) -> Option<Vec<(Option<Eam>, Record)>> {
    let entries = |map: &MapData| map.info().ok().map(|info| info.max_entries());
    let places = entries(accounts)? / parts().ok()?;
    if places == 0 {
        return None;
    }
    let accounts = Accounts::new(accounts, places as usize).ok()?;
    let table6 = Mapping::new(table6.fd(), entries(table6)? as usize * size_of::<Bucket>()).ok()?;
    let of_eams = table::accounts_of(table6.words()).filter(|(_, account)| *account != 0 && *account < places);
    let of_eams = of_eams.map(|(eam, account)| (Some(eam), accounts.collect(account)));
    let rest = of_eams.chain([(None, accounts.collect(0))]);
    Some(rest.filter(|(_, record)| *record != Record::default()).collect())
}

impl DataPlane {
    /// The account that packets of an EAM count for; 0: it has none.
    #[must_use]
    pub fn account(&self, eam: &Eam) -> u32 {
        self.table.account(eam)
    }

    /// Gives what has been counted for each account since the last time, account 0 (packets that no EAM maps) included; those with
    /// nothing are left out.
    pub fn collect_accounts(&self, mut each: impl FnMut(u32, Record)) {
        let Some(accounts) = &self.accounts else { return };
        for account in 0..self.table.accounts_end() {
            let record = accounts.collect(account);
            if record != Record::default() {
                each(account, record);
            }
        }
    }

    /// What instances before this one have counted and nobody has collected: taken once. `None`: packets that no EAM maps.
    pub fn take_carried_accounts(&mut self) -> Vec<(Option<Eam>, Record)> {
        std::mem::take(&mut self.carried_accounts)
    }

    /// What is left of an account whose EAM has been taken out; from here on its number can be another's.
    pub(super) fn close_account(&mut self, account: u32) -> Record {
        let Some(accounts) = &self.accounts else { return Record::default() };
        // A packet may still be on its way with the old entry.
        self.grace.wait();
        let rest = accounts.collect(account);
        accounts.clear(account);
        self.table.give_back(account);
        rest
    }
}
