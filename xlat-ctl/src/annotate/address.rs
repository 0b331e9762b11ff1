//! Reading an address at the beginning of bytes, as far as it reaches.

/// What was read, and how many bytes it took.
pub(super) struct Read<T> {
    /// The address, in host order.
    pub(super) value: T,
    /// Its bytes in the text.
    pub(super) len: usize,
}

/// The number at the beginning, of at most `most` decimal digits, and how many they are.
pub(super) fn decimal(text: &[u8], most: usize) -> Option<(u32, usize)> {
    let digits = text.iter().take(most + 1).take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > most {
        return None;
    }
    Some((text[..digits].iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0')), digits))
}

/// An IPv4 address in the four-part form. A part with a leading zero is none: some read it as octal.
pub(super) fn ipv4(text: &[u8]) -> Option<Read<u32>> {
    let (mut value, mut len) = (0, 0);
    for part in 0..4 {
        if part > 0 {
            if text.get(len) != Some(&b'.') {
                return None;
            }
            len += 1;
        }
        let (number, digits) = decimal(&text[len..], 3)?;
        if number > 255 || (digits > 1 && text[len] == b'0') {
            return None;
        }
        value = value << 8 | number;
        len += digits;
    }
    Some(Read { value, len })
}

fn hex_digit(byte: u8) -> Option<u16> {
    match byte {
        b'0'..=b'9' => Some(u16::from(byte - b'0')),
        b'a'..=b'f' => Some(u16::from(byte - b'a') + 10),
        b'A'..=b'F' => Some(u16::from(byte - b'A') + 10),
        _ => None,
    }
}

/// One to four hexadecimal digits after which no letter or digit follows.
fn group(text: &[u8]) -> Option<(u16, usize)> {
    const MOST: usize = 4;
    let (mut value, mut len) = (0, 0);
    while len < MOST
        && let Some(digit) = text.get(len).and_then(|byte| hex_digit(*byte))
    {
        value = value << 4 | digit;
        len += 1;
    }
    (len > 0 && !text.get(len).is_some_and(u8::is_ascii_alphanumeric)).then_some((value, len))
}

/// An IPv6 address in any form of RFC 4291 2.2: the longest that the bytes begin with.
pub(super) fn ipv6(text: &[u8]) -> Option<Read<u128>> {
    let mut groups = [0_u16; 8];
    let (mut count, mut len) = (0, 0);
    // How many groups stand before `::`.
    let mut before_gap = None;
    if text.starts_with(b"::") {
        (before_gap, len) = (Some(0), 2);
    }
    let mut next = len;
    loop {
        let room = if before_gap.is_some() { 7 } else { 8 } - count;
        if room >= 2
            && let Some(quad) = ipv4(&text[next..])
        {
            groups[count] = (quad.value >> 16) as u16;
            groups[count + 1] = quad.value as u16;
            (count, len) = (count + 2, next + quad.len);
            break;
        }
        let Some((value, digits)) = group(&text[next..]).filter(|_| room >= 1) else { break };
        groups[count] = value;
        (count, len) = (count + 1, next + digits);
        match text[len..] {
            [b':', b':', ..] if before_gap.is_none() && count < 8 => {
                before_gap = Some(count);
                len += 2;
                next = len;
            }
            [b':', ..] => next = len + 1,
            _ => break,
        }
    }
    let value = |groups: &[u16]| groups.iter().fold(0_u128, |value, group| value << 16 | u128::from(*group));
    match before_gap {
        None => (count == 8).then(|| Read { value: value(&groups), len }),
        Some(0) => Some(Read { value: value(&groups[..count]), len }),
        Some(before) => {
            let high = value(&groups[..before]) << (16 * (8 - before));
            Some(Read { value: high | value(&groups[before..count]), len })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_as_far_as_an_address_reaches() {
        for (text, address) in [
            ("2001:db8:6464::cb00:7107", "2001:db8:6464::cb00:7107"),
            ("2001:DB8:6464::CB00:7107]", "2001:DB8:6464::CB00:7107"),
            ("2001:db8:6464::203.0.113.7.443", "2001:db8:6464::203.0.113.7"),
            ("2001:db8:6464::cb00:7107.443", "2001:db8:6464::cb00:7107"),
            ("2001:db8:6464::10.80:", "2001:db8:6464::10"),
            ("2001:db8:6464::cb00:7107:51234", "2001:db8:6464::cb00:7107"),
            ("2001:db8:6464::cb00:7107: closed", "2001:db8:6464::cb00:7107"),
            ("2001:db8:77cb:71:7:::443", "2001:db8:77cb:71:7::"),
            ("2001:db8:0:0:0:0:0:1:443", "2001:db8:0:0:0:0:0:1"),
            ("1:2:3:4:5:6:203.0.113.7", "1:2:3:4:5:6:203.0.113.7"),
            ("::/0", "::"),
            ("::1", "::1"),
            ("1::2::3", "1::2"),
            ("2001:db8::1:gone", "2001:db8::1"),
        ] {
            let read = ipv6(text.as_bytes()).unwrap_or_else(|| panic!("{text} is not read"));
            assert_eq!(&text[..read.len], address);
            assert_eq!(Ipv6Addr::from_bits(read.value), address.parse::<Ipv6Addr>().unwrap(), "{text}");
        }
        for text in ["", ":", "2001:db8", "02:42:ac:11:00:02", "12:34:56", "g::", "1:2:3:4:5:6:7:", "12345::1"] {
            assert!(ipv6(text.as_bytes()).is_none(), "{text}");
        }
        for text in ["", "1.2.3", "256.1.1.1", "1.2.3.04", "1..2.3", "1234.1.1.1"] {
            assert!(ipv4(text.as_bytes()).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reads_what_the_standard_library_reads(text in "(([0-9a-fA-F]{0,4}:){0,8}[0-9a-f]{0,4}|[0-9.]{0,15}|::ffff:[0-9.]{7,15})") {
            let read = ipv6(text.as_bytes()).filter(|read| read.len == text.len());
            prop_assert_eq!(read.map(|read| Ipv6Addr::from_bits(read.value)), text.parse::<Ipv6Addr>().ok());
            let read = ipv4(text.as_bytes()).filter(|read| read.len == text.len());
            prop_assert_eq!(read.map(|read| Ipv4Addr::from_bits(read.value)), text.parse::<Ipv4Addr>().ok());
        }

        #[test]
        fn reads_every_address_as_it_is_written(bits: u128, quad: u32) {
            for bits in [bits, bits & !(u128::from(quad) << 40), bits >> 64] {
                let text = Ipv6Addr::from_bits(bits).to_string();
                let read = ipv6(text.as_bytes()).unwrap();
                prop_assert_eq!((read.value, read.len), (bits, text.len()));
            }
            let text = Ipv4Addr::from_bits(quad).to_string();
            let read = ipv4(text.as_bytes()).unwrap();
            prop_assert_eq!((read.value, read.len), (quad, text.len()));
        }
    }
}
