//! Checksums of what is kept: for faults of disks and memory, not against people.

/// A sum of checksums, in which the order does not count: an entry that goes is subtracted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checksum(u64);

impl Checksum {
    pub(super) fn add(&mut self, one: u64) {
        self.0 = self.0.wrapping_add(one);
    }

    pub(super) fn remove(&mut self, one: u64) {
        self.0 = self.0.wrapping_sub(one);
    }

    /// As SQLite keeps numbers.
    pub(super) fn to_i64(self) -> i64 {
        self.0.cast_signed()
    }

    pub(super) fn from_i64(value: i64) -> Self {
        Self(value.cast_unsigned())
    }
}

/// FNV-1a over fields and their lengths, mixed at the end so that sums of similar texts do not resemble each other.
pub(super) struct Hasher(u64);

impl Hasher {
    pub(super) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(super) fn field(mut self, bytes: &[u8]) -> Self {
        for byte in bytes.iter().chain(&(bytes.len() as u32).to_le_bytes()) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self
    }

    pub(super) fn number(self, number: i64) -> Self {
        self.field(&number.to_le_bytes())
    }

    pub(super) fn finish(self) -> u64 {
        let mut hash = self.0;
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ (hash >> 33)
    }
}

/// Of one entry.
pub(super) fn entry(ipv4: &str, ipv6: &str, comment: &str) -> u64 {
    Hasher::new().field(ipv4.as_bytes()).field(ipv6.as_bytes()).field(comment.as_bytes()).finish()
}

/// Of one change of an entry.
pub(super) fn change(number: usize, kind: &str, ipv4: &str, ipv6: &str, comment: &str, before: Option<&str>) -> u64 {
    Hasher::new()
        .number(number as i64)
        .field(kind.as_bytes())
        .field(ipv4.as_bytes())
        .field(ipv6.as_bytes())
        .field(comment.as_bytes())
        .field(before.map_or(&b"\xff"[..], str::as_bytes))
        .finish()
}
