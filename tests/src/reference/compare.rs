//! Comparing what the reference expects with what the program did.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Free, Outcome, Translated, checksum};

/// Whether the program did what the reference expects; values that are the program's to choose are taken from what it did,
/// with all checksums that cover them.
///
/// # Errors
///
/// The difference, in words.
pub fn same(expected: &Outcome, got: &Outcome) -> Result<(), String> {
    match (expected, got) {
        (Outcome::Translate(expected), Outcome::Translate(got))
        | (Outcome::ToKernelTranslated(expected), Outcome::ToKernelTranslated(got)) => {
            same_bytes(&with_choices_of(expected, &got.bytes)?, &got.bytes)
        }
        (Outcome::Refuse { reason, icmp }, Outcome::Refuse { reason: got_reason, icmp: got_icmp }) => {
            if reason != got_reason {
                return Err(format!("reason {reason} expected, {got_reason} given"));
            }
            same_bytes(icmp, got_icmp)
        }
        (expected, got) if expected == got => Ok(()),
        _ => Err("the verdicts differ".to_owned()),
    }
}

fn same_bytes(expected: &[u8], got: &[u8]) -> Result<(), String> {
    if expected.len() != got.len() {
        return Err(format!("{} bytes expected, {} given", expected.len(), got.len()));
    }
    match expected.iter().zip(got).position(|(expected, got)| expected != got) {
        None => Ok(()),
        Some(at) => Err(format!("byte {at} is {:#04x}, {:#04x} expected", got[at], expected[at])),
    }
}

/// The expected packet with the program's own choices in it.
fn with_choices_of(expected: &Translated, got: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = expected.bytes.clone();
    if bytes.len() != got.len() || bytes[0] >> 4 != got[0] >> 4 {
        return Ok(bytes);
    }
    if bytes[0] >> 4 == 4 {
        if expected.free.identification {
            replace(&mut bytes, got, 4..6, &[10]);
        }
        if !expected.free.sources.is_empty() {
            let octets: [u8; 4] = got[12..16].try_into().expect("4 bytes");
            one_of(&expected.free, IpAddr::V4(Ipv4Addr::from(octets)))?;
            replace(&mut bytes, got, 12..16, &[10]);
        }
        return Ok(bytes);
    }
    if !expected.free.sources.is_empty() {
        let octets: [u8; 16] = got[8..24].try_into().expect("16 bytes");
        one_of(&expected.free, IpAddr::V6(Ipv6Addr::from(octets)))?;
        replace(&mut bytes, got, 8..24, &[42]);
    }
    if expected.free.flow_label {
        take_flow_label(&mut bytes, got, 0, &[]);
    }
    if expected.free.inner_flow_label {
        take_flow_label(&mut bytes, got, 48, &[42]);
    }
    Ok(bytes)
}

fn one_of(free: &Free, source: IpAddr) -> Result<(), String> {
    if free.sources.iter().any(|net| net.contains(&source)) {
        Ok(())
    } else {
        Err(format!("the source {source} is none of {:?}", free.sources))
    }
}

/// The low 20 bits of the first word of the IPv6 header at `header`.
fn take_flow_label(bytes: &mut [u8], got: &[u8], header: usize, checksums: &[usize]) {
    let mut wanted = got.to_vec();
    wanted[header + 1] = bytes[header + 1] & 0xf0 | got[header + 1] & 0x0f;
    replace(bytes, &wanted, header..header + 4, checksums);
}

/// Takes a range of 16-bit words from `got`, and updates the checksums at these places for it.
fn replace(bytes: &mut [u8], got: &[u8], range: std::ops::Range<usize>, checksums: &[usize]) {
    let (before, after) = (checksum::sum(&bytes[range.clone()]), checksum::sum(&got[range.clone()]));
    bytes[range.clone()].copy_from_slice(&got[range]);
    for at in checksums {
        let field = checksum::word(bytes, *at).expect("a whole header");
        checksum::set_word(bytes, *at, checksum::update(field, before, after));
    }
}
