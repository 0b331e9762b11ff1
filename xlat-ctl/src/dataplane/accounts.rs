//! What is counted for single EAMs (`xlat_common::account`): reading it, and carrying it from one program instance to the next.

use std::{
    ops::AddAssign,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use aya::{
    Ebpf,
    maps::{Map, MapData},
};
use xlat_common::{
    account::Record,
    counters::{Direction, Traffic},
    settings::Settings,
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

/// What has been counted for one EAM. Native traffic stands under the direction that it would have if it were translated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Translated and sent.
    pub translated: Record,
    /// IPv6 from end to end, which passed.
    pub native: Record,
}

impl Counted {
    /// All bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        [self.translated, self.native].iter().flat_map(|record| record.traffic).map(|traffic| traffic.bytes).sum()
    }

    /// Whether there is anything.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Counted {
    fn add_assign(&mut self, more: Self) {
        self.translated += more.translated;
        self.native += more.native;
    }
}

/// The arrays in this process' memory.
pub(super) struct Accounts {
    translated: Records,
    /// `None`: what passes natively is not counted.
    native: Option<Records>,
}

impl Accounts {
    /// The arrays of a loaded object. `None`: nothing is counted for single EAMs.
    pub(super) fn of_object(ebpf: &Ebpf, settings: &Settings) -> Result<Option<Self>, DataPlaneError> {
        let places = settings.accounts as usize;
        if places == 0 {
            return Ok(None);
        }
        let records = |name: &str| {
            let Some(Map::Array(map)) = ebpf.map(name) else {
                return Err(DataPlaneError::Object(format!("map {name} is missing")));
            };
            Records::new(map, name, places)
        };
        let native = (settings.native != 0).then(|| records("NATIVE")).transpose()?;
        Ok(Some(Self { translated: records("ACCOUNTS")?, native }))
    }

    /// To read accounts with.
    fn read(&self) -> Reader<'_> {
        Reader { translated: self.translated.parts(), native: self.native.as_ref().map(Records::parts) }
    }

    /// Sets every account under `end` to zero: for an instance that no packet has met.
    pub(super) fn clear_all(&self, end: u32) {
        let reader = self.read();
        (0..end).filter(|account| !reader.collect(*account).is_nothing()).for_each(|account| reader.clear(account));
    }
}

/// The parts of the arrays, found once for many accounts.
struct Reader<'a> {
    translated: Vec<&'a [AtomicU64]>,
    native: Option<Vec<&'a [AtomicU64]>>,
}

impl Reader<'_> {
    /// What has been counted for an account since it was last asked.
    fn collect(&self, account: u32) -> Counted {
        Counted {
            translated: collect(&self.translated, account),
            native: self.native.as_ref().map(|parts| collect(parts, account)).unwrap_or_default(),
        }
    }

    /// Sets an account to zero that no packet counts for any more.
    fn clear(&self, account: u32) {
        for part in [Some(&self.translated), self.native.as_ref()].into_iter().flatten().flatten() {
            let at = account as usize * WORDS;
            part[at..at + WORDS].iter().for_each(|word| word.store(0, Relaxed));
        }
    }
}

/// One array: its parts are those of `xlat_common::account`.
struct Records {
    memory: Mapping,
    /// Accounts of each part.
    places: usize,
}

impl Records {
    fn new(map: &MapData, name: &str, places: usize) -> Result<Self, DataPlaneError> {
        let bytes = places * parts()? as usize * size_of::<Record>();
        let failed = |error| DataPlaneError::new(&format!("map {name} into memory"), &error);
        Ok(Self { memory: Mapping::new(map.fd(), bytes).map_err(failed)?, places })
    }

    fn parts(&self) -> Vec<&[AtomicU64]> {
        self.memory.words().chunks_exact(self.places * WORDS).collect()
    }
}

/// What has been counted for an account since it was last asked; the last part says what that was.
fn collect(parts: &[&[AtomicU64]], account: u32) -> Record {
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

fn record([packets4, bytes4, packets6, bytes6]: [u64; WORDS]) -> Record {
    let mut record = Record::default();
    record.traffic[Direction::FourToSix as usize] = Traffic { packets: packets4, bytes: bytes4 };
    record.traffic[Direction::SixToFour as usize] = Traffic { packets: packets6, bytes: bytes6 };
    record
}

/// What an older instance, which no packet meets any more, has counted since it was last collected. Empty: it counts in another way,
/// or not at all.
pub(super) fn rest_of(pins: &Pins, instance: &Instance) -> Vec<(Option<Eam>, Counted)> {
    let map = |name: &str| MapData::from_pin(pins.map_path(instance, name)).ok();
    let (Some(table6), Some(accounts)) = (map("TABLE6"), map("ACCOUNTS")) else { return Vec::new() };
    read_rest(&table6, &accounts, map("NATIVE").as_ref()).unwrap_or_default()
}

fn read_rest(table6: &MapData, accounts: &MapData, native: Option<&MapData>) -> Option<Vec<(Option<Eam>, Counted)>> {
    let entries = |map: &MapData| map.info().ok().map(|info| info.max_entries());
    let places = |map: &MapData| Some(entries(map)? / parts().ok()?).filter(|places| *places > 0);
    let records = |map: &MapData, name| Records::new(map, name, places(map)? as usize).ok();
    let accounts = Accounts {
        translated: records(accounts, "ACCOUNTS")?,
        native: native.and_then(|native| records(native, "NATIVE")),
    };
    let places = accounts.translated.places as u32;
    let table6 = Mapping::new(table6.fd(), entries(table6)? as usize * size_of::<Bucket>()).ok()?;
    let of_eams = table::accounts_of(table6.words()).filter(|(_, account)| *account != 0 && *account < places);
    let reader = accounts.read();
    let of_eams = of_eams.map(|(eam, account)| (Some(eam), reader.collect(account)));
    let rest = of_eams.chain([(None, reader.collect(0))]);
    Some(rest.filter(|(_, counted)| !counted.is_nothing()).collect())
}

impl DataPlane {
    /// The account that packets of an EAM count for; 0: it has none.
    #[must_use]
    pub fn account(&self, eam: &Eam) -> u32 {
        self.table.account(eam)
    }

    /// Gives what has been counted for each account since the last time, account 0 (packets that no EAM maps) included; those with
    /// nothing are left out.
    pub fn collect_accounts(&self, mut each: impl FnMut(u32, &Counted)) {
        let Some(accounts) = &self.accounts else { return };
        let reader = accounts.read();
        for account in 0..self.table.accounts_end() {
            let counted = reader.collect(account);
            if !counted.is_nothing() {
                each(account, &counted);
            }
        }
    }

    /// Takes over what [`Self::take_carried_accounts`] has given.
    pub fn carry_accounts(&mut self, carried: Vec<(Option<Eam>, Counted)>) {
        self.carried_accounts.extend(carried);
    }

    /// What instances before this one have counted and nobody has collected: taken once. `None`: packets that no EAM maps.
    pub fn take_carried_accounts(&mut self) -> Vec<(Option<Eam>, Counted)> {
        std::mem::take(&mut self.carried_accounts)
    }

    /// What is left of an account whose EAM has been taken out; from here on its number can be another's.
    pub(super) fn close_account(&mut self, account: u32) -> Counted {
        let Some(accounts) = &self.accounts else { return Counted::default() };
        // A packet may still be on its way with the old entry.
        self.grace.wait();
        let reader = accounts.read();
        let rest = reader.collect(account);
        reader.clear(account);
        self.table.give_back(account);
        rest
    }
}
