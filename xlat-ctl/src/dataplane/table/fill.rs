//! Filling an empty table.

use xlat_common::table::Entry;

use super::{
    TableError,
    family::{Family, Key, Rule},
    full,
    memory::{Grace, Memory},
    plan::{self, Specials},
    twice,
    writer::{Full, Writer},
};

/// Fills an empty table that nobody reads. Entries wait until there are several for each part of the table: put in as they come,
/// nearly each of a million would have its own page looked up by the memory management first.
pub(super) fn fill<F: Family, M: Memory>(
    writer: &mut Writer<F, M>,
    rules: impl Iterator<Item = Rule> + Clone,
    specials: &Specials<F>,
    grace: &mut Grace,
    mut count: impl FnMut(Key<F::Address>),
) -> Result<(), TableError> {
    let most = writer.places().div_ceil(16);
    let mut waiting: Vec<Vec<Entry>> = vec![Vec::new(); writer.regions()];
    let mut number = 0;
    plan::for_each_entry::<F, _>(rules, specials, |entry| {
        count(F::key(&entry));
        waiting[writer.region(F::key(&entry))].push(entry);
        number += 1;
        if number % most == 0 { put_waiting(writer, &mut waiting, grace) } else { Ok(()) }
    })?;
    put_waiting(writer, &mut waiting, grace)
}

/// Puts in what waits for each region of a table.
fn put_waiting<F: Family, M: Memory>(
    writer: &mut Writer<F, M>,
    waiting: &mut [Vec<Entry>],
    grace: &mut Grace,
) -> Result<(), TableError> {
    /// Entries between the look at a bucket and the store into it: its cache line is on the way meanwhile.
    const AHEAD: usize = 32;
    for region in waiting {
        for entries in region.chunks(AHEAD) {
            entries.iter().for_each(|entry| writer.prefetch(F::key(entry)));
            for entry in entries {
                match writer.fill(entry, grace) {
                    Ok(true) => {}
                    Ok(false) => return Err(twice::<F>(format!("{:?}", F::key(entry)))),
                    Err(Full) => return Err(full(writer)),
                }
            }
        }
        region.clear();
    }
    Ok(())
}
