//! The look-up tables: from the operator's lists to entries, and from entries to shared memory.
//!
//! [`plan`] says which entries follow from the lists, [`fill`](mod@fill) puts them all into an empty table, [`changes`] says what
//! becomes of a table in which something changes, [`writer`] puts entries into one hash table while it is read, [`header`] keeps
//! the record beside the tables. What is live is what is known: the writer keeps no second copy of the
//! entries, which a million of them would make as large as the tables.

mod accounts;
mod changes;
mod error;
mod family;
mod fill;
mod header;
mod memory;
mod plan;
#[cfg(test)]
mod tests;
mod writer;

use std::{collections::HashSet, net::IpAddr, sync::atomic::AtomicU64, thread};

use ipnet::{Ipv4Net, Ipv6Net};
use xlat_common::{
    address::Ipv6,
    table::{Entry, TableHeader},
};

pub use self::error::TableError;
use self::{
    accounts::Numbers,
    changes::{Changes, difference, longest, with_rule, with_specials, without_rule},
    error::{full, twice},
    family::{Family, Key, Rule, V4, V6},
    fill::fill,
    header::{Header, Step},
    plan::Specials,
    writer::Writer,
};
pub(crate) use self::{
    accounts::accounts_of,
    memory::{Grace, Memory},
};
use super::{Eam, TableInput};

/// How many buckets each table needs for so many EAMs: one for each EAM, and room for what comes from other lists.
pub(crate) fn buckets_for(max_eams: u32, others: usize) -> u32 {
    /// For interfaces' addresses that come later.
    const SPARE: usize = 1024;
    // A bucket for each EAM leaves half of the places free; the others are only given room.
    let needed = (max_eams as usize).max((max_eams as usize + others + SPARE).div_ceil(2) + 1);
    needed.next_power_of_two().clamp(64, 1 << 30) as u32
}

/// What the table says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The flags of [`Entry`], without the prefix index.
    pub flags: u8,
    /// The EAM that covers it.
    pub eam: Option<Eam>,
}

/// The two tables and the record beside them.
pub(crate) struct Table<M> {
    ipv4: Writer<V4, M>,
    ipv6: Writer<V6, M>,
    header: Header<M>,
    special4: Specials<V4>,
    special6: Specials<V6>,
    well_known: bool,
    deny4: Vec<Ipv4Net>,
    deny6: Vec<Ipv6Net>,
    own: HashSet<IpAddr>,
    accounts: Numbers,
}

/// What the tables are made of.
#[derive(Clone, Copy)]
struct Lists<'a> {
    eams: &'a [Eam],
    /// The EAMs' accounts in their order; empty where none is counted.
    accounts: &'a [u32],
    special4: &'a Specials<V4>,
    special6: &'a Specials<V6>,
}

impl Lists<'_> {
    /// The EAMs as they go into the tables: made one by one, as a list of a million would be as large as what it is made of.
    fn rules(&self) -> impl Iterator<Item = Rule> + Clone {
        let accounts = self.accounts.iter().copied().chain(std::iter::repeat(0));
        self.eams.iter().zip(accounts).map(|(eam, account)| rule(eam, account))
    }
}

impl<M: Memory> Table<M> {
    /// Takes over memory full of zeros. `well_known`: some translation prefix is restricted to global addresses; `accounts`: how
    /// many accounts there are, account 0 among them.
    pub(crate) fn new(
        (ipv4, ipv6): (M, M),
        header: M,
        seed: u64,
        prefixes: Vec<Ipv6Net>,
        well_known: bool,
        accounts: u32,
    ) -> Self {
        Self {
            ipv4: Writer::new(ipv4, seed),
            ipv6: Writer::new(ipv6, seed),
            header: Header::new(header, prefixes),
            special4: Specials::<V4>::default(),
            special6: Specials::<V6>::default(),
            well_known,
            deny4: Vec::new(),
            deny6: Vec::new(),
            own: HashSet::new(),
            accounts: Numbers::new(accounts),
        }
    }

    /// Makes the table what the lists say, by as few changes as possible.
    pub(crate) fn replace(
        &mut self,
        input: &TableInput,
        own: HashSet<IpAddr>,
        grace: &mut Grace,
    ) -> Result<(), TableError> {
        let accounts = self.accounts_for(&input.eams);
        let (special4, special6) = specials(self.well_known, &input.deny4, &input.deny6, &own);
        self.header.set_refused_by_eam(TableHeader::REFUSED4 | TableHeader::REFUSED6);
        let lists = Lists { eams: &input.eams, accounts: &accounts, special4: &special4, special6: &special6 };
        let outcome = self.replace_entries(&lists, grace);
        self.mind_refused(grace);
        outcome?;
        (self.special4, self.special6, self.own) = (special4, special6, own);
        self.deny4.clone_from(&input.deny4);
        self.deny6.clone_from(&input.deny6);
        Ok(())
    }

    fn replace_entries(&mut self, lists: &Lists<'_>, grace: &mut Grace) -> Result<(), TableError> {
        if self.ipv4.len() == 0 && self.ipv6.len() == 0 {
            return self.fill(lists, grace);
        }
        let Lists { special4, special6, .. } = *lists;
        let (table4, table6) = (&self.ipv4, &self.ipv6);
        let (ipv4, ipv6) = thread::scope(|scope| {
            let ipv6 = scope.spawn(|| difference(table6, lists.rules(), special6));
            (difference(table4, lists.rules(), special4), ipv6.join().expect("the other half does not panic"))
        });
        self.apply(&ipv4?, &ipv6?, grace)
    }

    /// Whether a copy of this table with these changes is had faster than another table is filled.
    pub(crate) fn is_worth_copying(&self, removed: &[Eam], added: &[Eam]) -> bool {
        /// What lies within a prefix that is no single address is looked for in the whole table.
        const MOST_PREFIXES: usize = 8;
        let changes = || removed.iter().chain(added);
        let prefixes = changes().filter(|eam| eam.ipv4.prefix_len() < V4::FULL || eam.ipv6.prefix_len() < V6::FULL);
        changes().count() <= self.ipv4.len() / 8 && prefixes.count() <= MOST_PREFIXES
    }

    /// Becomes a copy of another table with some EAMs taken out and others added. Nobody reads this one, which is empty.
    /// `Ok(false)`: they are not alike, and nothing has been done.
    pub(crate) fn copy(
        &mut self,
        other: &Self,
        removed: &[Eam],
        added: &[Eam],
        grace: &mut Grace,
    ) -> Result<bool, TableError> {
        let (table4, table6) = (&mut self.ipv4, &mut self.ipv6);
        let is_copied = thread::scope(|scope| {
            let ipv6 = scope.spawn(|| table6.copy(&other.ipv6));
            table4.copy(&other.ipv4) & ipv6.join().expect("the other half does not panic")
        });
        if !is_copied {
            return Ok(false);
        }
        self.header.copy(&other.header);
        (self.special4, self.special6) = (other.special4.clone(), other.special6.clone());
        (self.deny4, self.deny6, self.own) = (other.deny4.clone(), other.deny6.clone(), other.own.clone());
        self.accounts = other.accounts.clone();
        for eam in removed {
            let account = self.account(eam);
            self.remove(eam, grace)?;
            self.give_back(account);
        }
        for eam in added {
            let rule = rule(eam, self.account_for(eam));
            self.insert_rule(&rule, eam, grace)?;
        }
        self.mind_refused(grace);
        Ok(true)
    }

    /// Adds an EAM.
    pub(crate) fn insert(&mut self, eam: &Eam, grace: &mut Grace) -> Result<(), TableError> {
        let rule = rule(eam, self.account_for(eam));
        let outcome = self.insert_rule(&rule, eam, grace);
        // One that is there already keeps its own.
        if outcome.is_err() && rule.account != self.account(eam) {
            self.give_back(rule.account);
        }
        self.mind_refused(grace);
        outcome
    }

    fn insert_rule(&mut self, rule: &Rule, eam: &Eam, grace: &mut Grace) -> Result<(), TableError> {
        let ipv4 = with_rule(&self.ipv4, rule).ok_or_else(|| twice::<V4>(eam.ipv4.to_string()))?;
        let ipv6 = with_rule(&self.ipv6, rule).ok_or_else(|| twice::<V6>(eam.ipv6.to_string()))?;
        self.apply(&ipv4, &ipv6, grace)
    }

    /// Takes an EAM out.
    pub(crate) fn remove(&mut self, eam: &Eam, grace: &mut Grace) -> Result<(), TableError> {
        let missing = || TableError::Missing { ipv4: eam.ipv4, ipv6: eam.ipv6 };
        let rule = rule(eam, self.account(eam));
        let ipv4 = without_rule(&self.ipv4, &rule, &self.special4).ok_or_else(missing)?;
        let ipv6 = without_rule(&self.ipv6, &rule, &self.special6).ok_or_else(missing)?;
        let outcome = self.apply(&ipv4, &ipv6, grace);
        self.mind_refused(grace);
        outcome
    }

    /// Says which addresses are the relay's own.
    pub(crate) fn set_own(&mut self, own: HashSet<IpAddr>, grace: &mut Grace) -> Result<(), TableError> {
        if own == self.own {
            return Ok(());
        }
        let (special4, special6) = specials(self.well_known, &self.deny4, &self.deny6, &own);
        let changed: Vec<IpAddr> = own.symmetric_difference(&self.own).copied().collect();
        let keys4 = changed.iter().filter_map(|address| match address {
            IpAddr::V4(address) => Some(Key { address: address.to_bits(), len: V4::FULL }),
            IpAddr::V6(_) => None,
        });
        let keys6 = changed.iter().filter_map(|address| match address {
            IpAddr::V6(address) => Some(Key { address: Ipv6::from(*address), len: V6::FULL }),
            IpAddr::V4(_) => None,
        });
        let ipv4 = with_specials(&self.ipv4, keys4, &special4);
        let ipv6 = with_specials(&self.ipv6, keys6, &special6);
        let outcome = self.apply(&ipv4, &ipv6, grace);
        self.mind_refused(grace);
        outcome?;
        (self.special4, self.special6, self.own) = (special4, special6, own);
        Ok(())
    }

    /// Tells the program whether an address that an EAM gives can be one that is refused in its own family: where an EAM covers
    /// one, or lies in a deny list. It costs a second look-up per packet, so not always. A packet that has found an entry that is
    /// gone since is still to be looked up.
    fn mind_refused(&mut self, grace: &mut Grace) {
        let refused4 = if self.ipv4.has_refused() { TableHeader::REFUSED4 } else { 0 };
        let refused6 = if self.ipv6.has_refused() { TableHeader::REFUSED6 } else { 0 };
        let bits = refused4 | refused6;
        if self.header.refused_by_eam() & !bits != 0 {
            grace.wait();
        }
        self.header.set_refused_by_eam(bits);
    }

    /// Sources of ICMP errors where the interface has none. IPv4 in host order.
    pub(crate) fn set_default_addresses(&mut self, ipv4: u32, ipv6: Ipv6) {
        self.header.set_default_addresses(ipv4, ipv6);
    }

    /// What is known of an address: its longest match, as the program finds it.
    pub(crate) fn lookup(&self, address: IpAddr) -> Known {
        let content = match address {
            IpAddr::V4(address) => longest(&self.ipv4, Key { address: address.to_bits(), len: V4::FULL }),
            IpAddr::V6(address) => longest(&self.ipv6, Key { address: Ipv6::from(address), len: V6::FULL }),
        };
        let flags = content.flags | if content.rule.is_some() { Entry::EAM } else { 0 };
        Known { flags, eam: content.rule.and_then(eam) }
    }

    /// The IPv4 table's memory, as words.
    pub(crate) fn words4(&self) -> &[AtomicU64] {
        self.ipv4.words()
    }

    /// Which of [`Self::words4`] is the program's own in the entry of one IPv4 address (host order): the next hop that it
    /// remembers. `None`: the address has no entry of its own.
    pub(crate) fn next_hop_word(&self, address: u32) -> Option<usize> {
        const WORDS: usize = size_of::<Entry>() / size_of::<u64>();
        let (place, _) = self.ipv4.find(Key { address, len: V4::FULL })?;
        Some(place.index() * WORDS + std::mem::offset_of!(Entry, next_hop) / size_of::<u64>())
    }

    fn fill(&mut self, lists: &Lists<'_>, grace: &mut Grace) -> Result<(), TableError> {
        let Lists { eams, special4, special6, .. } = *lists;
        let (ipv4, ipv6) = (eams.len() + special4.len(), eams.len() + special6.len());
        if ipv4 > self.ipv4.capacity() {
            return Err(full(&self.ipv4));
        }
        if ipv6 > self.ipv6.capacity() {
            return Err(full(&self.ipv6));
        }
        let mut touching = std::mem::take(self.header.touching());
        let (header, table4, table6) = (&mut self.header, &mut self.ipv4, &mut self.ipv6);
        let count4 = |key| header.count4(key, Step::Comes);
        let count6 = |key| touching.count(key, Step::Comes);
        let filled = if grace.has_readers() {
            fill(table4, lists.rules(), special4, grace, count4)
                .and_then(|()| fill(table6, lists.rules(), special6, grace, count6))
        } else {
            // Nobody to wait for: the families need not share anything.
            thread::scope(|scope| {
                let ipv6 = scope.spawn(|| fill(table6, lists.rules(), special6, &mut Grace::new(|| {}), count6));
                let ipv4 = fill(table4, lists.rules(), special4, grace, count4);
                ipv4.and(ipv6.join().expect("the other half does not panic"))
            })
        };
        *self.header.touching() = touching;
        if filled.is_err() {
            self.empty(grace);
        }
        self.header.set_lengths(self.ipv4.lengths(), self.ipv6.lengths(), grace);
        filled
    }

    fn empty(&mut self, grace: &mut Grace) {
        let ipv4 = Changes::<V4> { puts: Vec::new(), removals: self.ipv4.iter().map(|(_, e)| V4::key(&e)).collect() };
        let ipv6 = Changes::<V6> { puts: Vec::new(), removals: self.ipv6.iter().map(|(_, e)| V6::key(&e)).collect() };
        self.apply(&ipv4, &ipv6, grace).expect("taking out needs no room");
    }

    /// Makes changes to both tables, the record beside them wide enough all the time. What is refused is to be minded afterwards.
    fn apply(&mut self, ipv4: &Changes<V4>, ipv6: &Changes<V6>, grace: &mut Grace) -> Result<(), TableError> {
        ipv4.check_room(&self.ipv4)?;
        ipv6.check_room(&self.ipv6)?;
        // Said only where it comes: taking it back takes waiting.
        let refused4 = if ipv4.bring_refused() { TableHeader::REFUSED4 } else { 0 };
        let refused6 = if ipv6.bring_refused() { TableHeader::REFUSED6 } else { 0 };
        self.header.set_refused_by_eam(self.header.refused_by_eam() | refused4 | refused6);
        ipv4.added().for_each(|key| self.header.count4(key, Step::Comes));
        ipv6.added().for_each(|key| self.header.count6(key, Step::Comes));
        let (wider4, wider6) = (ipv4.widened(&self.ipv4), ipv6.widened(&self.ipv6));
        self.header.set_lengths(&wider4, &wider6, grace);
        let outcome = self.apply_to_tables(ipv4, ipv6, grace);
        if outcome.is_ok() {
            ipv4.removals.iter().for_each(|key| self.header.count4(*key, Step::Goes));
            ipv6.removals.iter().for_each(|key| self.header.count6(*key, Step::Goes));
        } else {
            ipv4.added().for_each(|key| self.header.count4(key, Step::Goes));
            ipv6.added().for_each(|key| self.header.count6(key, Step::Goes));
        }
        self.header.set_lengths(self.ipv4.lengths(), self.ipv6.lengths(), grace);
        outcome
    }

    fn apply_to_tables(&mut self, ipv4: &Changes<V4>, ipv6: &Changes<V6>, grace: &mut Grace) -> Result<(), TableError> {
        let (back4, back6) = (ipv4.back(&self.ipv4), ipv6.back(&self.ipv6));
        let refused = if self.ipv4.apply(&ipv4.puts, &ipv4.removals, grace).is_err() {
            full(&self.ipv4)
        } else if self.ipv6.apply(&ipv6.puts, &ipv6.removals, grace).is_err() {
            full(&self.ipv6)
        } else {
            return Ok(());
        };
        // The check before has let through what then found no place: a table that is full and out of luck. What was there
        // before has room.
        let _ = self.ipv4.apply(&back4.fresh(&self.ipv4), &back4.removals, grace);
        let _ = self.ipv6.apply(&back6.fresh(&self.ipv6), &back6.removals, grace);
        Err(refused)
    }
}

fn rule(eam: &Eam, account: u32) -> Rule {
    Rule {
        account,
        ipv4: eam.ipv4.network().to_bits(),
        len4: eam.ipv4.prefix_len(),
        ipv6: eam.ipv6.network().into(),
        len6: eam.ipv6.prefix_len(),
        prefix: eam.prefix.unwrap_or(Entry::PREFIX_DEFAULT),
    }
}

fn eam(rule: Rule) -> Option<Eam> {
    Some(Eam {
        ipv4: Ipv4Net::new(rule.ipv4.into(), rule.len4).ok()?,
        ipv6: Ipv6Net::new(rule.ipv6.into(), rule.len6).ok()?,
        prefix: (rule.prefix != Entry::PREFIX_DEFAULT).then_some(rule.prefix),
    })
}

/// The flags that the lists other than the EAMs give.
fn specials(
    well_known: bool,
    deny4: &[Ipv4Net],
    deny6: &[Ipv6Net],
    own: &HashSet<IpAddr>,
) -> (Specials<V4>, Specials<V6>) {
    let (mut special4, mut special6) = (plan::built_in4(well_known), plan::built_in6());
    for net in deny4 {
        *special4.entry(V4::prefix(net.network().to_bits(), net.prefix_len())).or_default() |= Entry::DENIED;
    }
    for net in deny6 {
        *special6.entry(V6::prefix(net.network().into(), net.prefix_len())).or_default() |= Entry::DENIED;
    }
    for address in own {
        match address {
            IpAddr::V4(address) => {
                *special4.entry(Key { address: address.to_bits(), len: V4::FULL }).or_default() |= Entry::OWN;
            }
            IpAddr::V6(address) => {
                *special6.entry(Key { address: (*address).into(), len: V6::FULL }).or_default() |= Entry::OWN;
            }
        }
    }
    (special4, special6)
}
