//! Ones' complement arithmetic over bytes (RFC 1071).

/// The ones' complement sum of 16-bit words; an odd last byte counts as the high one.
#[must_use]
pub fn ones_complement_sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).copied().map_or(0, u32::from));
    let mut sum: u32 = 0;
    for word in words {
        sum += word;
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The Internet checksum of several pieces, each but the last of an even length.
#[must_use]
pub fn checksum(pieces: &[&[u8]]) -> u16 {
    let sum = pieces.iter().fold(0, |sum, piece| add(sum, ones_complement_sum(piece)));
    !sum
}

/// The ones' complement sum of two words.
pub(super) fn add(a: u16, b: u16) -> u16 {
    let sum = u32::from(a) + u32::from(b);
    ((sum & 0xffff) + (sum >> 16)) as u16
}
