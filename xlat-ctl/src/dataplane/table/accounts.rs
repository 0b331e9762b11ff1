//! Which account counts for which EAM (`xlat_common::account`).

use std::sync::atomic::AtomicU64;

use super::{
    Table,
    changes::is_same,
    eam,
    family::{Family as _, V6},
    memory::Memory,
    rule, writer,
};
use crate::dataplane::Eam;

/// The accounts' numbers: which are free.
#[derive(Clone)]
pub(super) struct Numbers {
    /// The next that has never been given.
    next: u32,
    /// One more than the greatest.
    end: u32,
    /// Given and free again.
    free: Vec<u32>,
}

impl Numbers {
    /// `count`: how many accounts there are, account 0 among them, which is nobody's.
    pub(super) fn new(count: u32) -> Self {
        Self { next: 1, end: count, free: Vec::new() }
    }

    /// A number, or 0: there is none left.
    fn take(&mut self) -> u32 {
        if let Some(number) = self.free.pop() {
            return number;
        }
        if self.next >= self.end {
            return 0;
        }
        self.next += 1;
        self.next - 1
    }
}

impl<M: Memory> Table<M> {
    /// The account of an EAM that is in the table; 0: it has none.
    pub(crate) fn account(&self, eam: &Eam) -> u32 {
        let wanted = rule(eam, 0);
        let found = self.ipv6.find(V6::key_of(&wanted)).and_then(|(_, entry)| V6::content(&entry).rule);
        found.filter(|found| is_same(found, &wanted)).map_or(0, |found| found.account)
    }

    /// One more than the greatest account that has been given.
    pub(crate) fn accounts_end(&self) -> u32 {
        self.accounts.next
    }

    /// Has an account's number given to another EAM one day.
    pub(crate) fn give_back(&mut self, account: u32) {
        if account != 0 {
            self.accounts.free.push(account);
        }
    }

    /// The accounts that EAMs have, or new ones; nothing where none is counted.
    pub(super) fn accounts_for(&mut self, eams: &[Eam]) -> Vec<u32> {
        if self.accounts.end == 0 { Vec::new() } else { eams.iter().map(|eam| self.account_for(eam)).collect() }
    }

    /// The account that an EAM has, or a new one.
    pub(super) fn account_for(&mut self, eam: &Eam) -> u32 {
        // Where there are none, or no EAM yet, a million looks into the table would find nothing.
        let looks = self.accounts.end > 0 && self.ipv6.len() > 0;
        match if looks { self.account(eam) } else { 0 } {
            0 => self.accounts.take(),
            account => account,
        }
    }
}

/// Every EAM of an IPv6 table that is not this process' own, with its account.
pub(crate) fn accounts_of(table6: &[AtomicU64]) -> impl Iterator<Item = (Eam, u32)> {
    let entries = writer::entries(table6);
    entries.filter_map(|entry| {
        let rule = V6::content(&entry).rule.filter(|rule| V6::key_of(rule) == V6::key(&entry))?;
        Some((eam(rule)?, rule.account))
    })
}
