//! From the lists (EAMs, deny lists, own addresses, built-in ranges) to the entries that follow from them all together.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, Hash, Hasher},
};

use rustc_hash::FxHashMap;
use xlat_common::{address::Ipv6, table::Entry};

use super::family::{Content, Family, Key, Rule, V4, V6};

/// Flags that hold in prefixes, but for those that follow from EAMs.
pub(crate) type Specials<F> = FxHashMap<Key<<F as Family>::Address>, u8>;

/// Ranges that no packet may come from or go to (docs/translation.md, section 4).
const ILLEGAL4: [(u32, u8); 5] = [(0, 8), (0x7f00_0000, 8), (0xa9fe_0000, 16), (0xe000_0000, 4), (0xf000_0000, 4)];
const ILLEGAL6: [(Ipv6, u8); 4] = [
    (Ipv6::UNSPECIFIED, 128),
    (Ipv6 { hi: 0, lo: 1 }, 128),
    (Ipv6 { hi: 0xfe80 << 48, lo: 0 }, 10),
    (Ipv6 { hi: 0xff00 << 48, lo: 0 }, 8),
];
/// Ranges that are not global in the sense of RFC 6052 3.1 (docs/translation.md, section 4).
const NON_GLOBAL4: [(u32, u8); 14] = [
    (0, 8),
    (0x0a00_0000, 8),
    (0x6440_0000, 10),
    (0x7f00_0000, 8),
    (0xa9fe_0000, 16),
    (0xac10_0000, 12),
    (0xc000_0000, 24),
    (0xc000_0200, 24),
    (0xc0a8_0000, 16),
    (0xc612_0000, 15),
    (0xc633_6400, 24),
    (0xcb00_7100, 24),
    (0xe000_0000, 4),
    (0xf000_0000, 4),
];

/// The built-in ranges. `well_known`: some translation prefix is restricted to global addresses.
pub(crate) fn built_in4(well_known: bool) -> Specials<V4> {
    let mut specials = Specials::<V4>::default();
    for (address, len) in ILLEGAL4 {
        *specials.entry(Key { address, len }).or_default() |= Entry::ILLEGAL;
    }
    for (address, len) in NON_GLOBAL4.into_iter().filter(|_| well_known) {
        *specials.entry(Key { address, len }).or_default() |= Entry::NON_GLOBAL;
    }
    specials
}

/// As [`built_in4`].
pub(crate) fn built_in6() -> Specials<V6> {
    ILLEGAL6.into_iter().map(|(address, len)| (Key { address, len }, Entry::ILLEGAL)).collect()
}

/// The hash of a key is the table's own: cheap, and as good as it needs to be.
#[derive(Clone, Copy, Default)]
struct Cheap(u64);

impl Hasher for Cheap {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

impl BuildHasher for Cheap {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

struct Hashed<F: Family>(Key<F::Address>);

impl<F: Family> PartialEq for Hashed<F> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<F: Family> Eq for Hashed<F> {}

impl<F: Family> Hash for Hashed<F> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(F::hash(self.0, 0));
    }
}

/// The content of every prefix shorter than an address.
struct Shorts<F: Family> {
    contents: HashMap<Hashed<F>, Content, Cheap>,
    /// The lengths that occur, longest first.
    lengths: Vec<u8>,
    /// Of which first bytes of an address there are any: nearly no service's is one of them.
    first_bytes: [bool; 256],
}

impl<F: Family> Shorts<F> {
    fn new(rules: impl Iterator<Item = Rule>, specials: &Specials<F>) -> Self {
        let mut own: HashMap<Hashed<F>, Content, Cheap> = HashMap::default();
        for (key, flags) in specials.iter().filter(|(key, _)| key.len < F::FULL) {
            own.entry(Hashed(*key)).or_default().flags |= flags;
        }
        for rule in rules.filter(|rule| F::key_of(rule).len < F::FULL) {
            own.entry(Hashed(F::key_of(&rule))).or_default().rule = Some(rule);
        }
        let mut keys: Vec<Key<F::Address>> = own.keys().map(|key| key.0).collect();
        keys.sort_by_key(|key| key.len);
        let mut shorts = Self { contents: HashMap::default(), lengths: Vec::new(), first_bytes: [false; 256] };
        // From the shortest to the longest: each is completed by the one around it.
        for key in keys {
            let around = shorts.around(key);
            let own = own[&Hashed(key)];
            let content = Content { flags: own.flags | around.flags, rule: own.rule.or(around.rule) };
            shorts.contents.insert(Hashed(key), content);
            let first = usize::from(F::first_byte(key.address));
            shorts.first_bytes[first..first + (1 << (8 - key.len.min(8)))].fill(true);
            if shorts.lengths.first() != Some(&key.len) {
                shorts.lengths.insert(0, key.len);
            }
        }
        shorts
    }

    /// What holds in the longest prefix around `key`.
    fn around(&self, key: Key<F::Address>) -> Content {
        if !self.first_bytes[usize::from(F::first_byte(key.address))] {
            return Content::default();
        }
        self.lengths
            .iter()
            .filter(|len| **len < key.len)
            .find_map(|len| self.contents.get(&Hashed(F::prefix(key.address, *len))))
            .map_or_else(Content::default, |content| content.inherited())
    }
}

/// Gives every entry that follows from the lists to `each`; an error of its ends the matter.
pub(crate) fn for_each_entry<F: Family, E>(
    rules: impl Iterator<Item = Rule> + Clone,
    specials: &Specials<F>,
    mut each: impl FnMut(Entry) -> Result<(), E>,
) -> Result<(), E> {
    let shorts = Shorts::<F>::new(rules.clone(), specials);
    for (key, content) in &shorts.contents {
        each(F::entry(key.0, *content))?;
    }
    let whole: Specials<F> = specials.iter().filter(|(key, _)| key.len == F::FULL).map(|(k, v)| (*k, *v)).collect();
    let mut both = HashSet::new();
    for rule in rules {
        let key = F::key_of(&rule);
        if key.len < F::FULL {
            continue;
        }
        let mut content = shorts.around(key);
        content.rule = Some(rule);
        if !whole.is_empty()
            && let Some(flags) = whole.get(&key)
        {
            content.flags |= flags;
            both.insert(key);
        }
        each(F::entry(key, content))?;
    }
    for (key, flags) in whole.iter().filter(|(key, _)| !both.contains(key)) {
        let mut content = shorts.around(*key);
        content.flags |= flags;
        each(F::entry(*key, content))?;
    }
    Ok(())
}
