//! Transport headers: the checksums that cover a pseudo-header (RFC 7915 sections 4.5 and 5.5).

use super::checksum;
use super::packet::protocol;

/// The least length of a transport header, of those the translator knows.
pub(super) fn least_header_length(protocol: u8) -> Option<usize> {
    match protocol {
        protocol::TCP => Some(20),
        protocol::UDP | protocol::UDP_LITE => Some(8),
        protocol::DCCP => Some(12),
        _ => None,
    }
}

/// Where the checksum field is.
pub(super) fn checksum_offset(protocol: u8) -> Option<usize> {
    match protocol {
        protocol::TCP => Some(16),
        protocol::UDP | protocol::UDP_LITE | protocol::DCCP => Some(6),
        _ => None,
    }
}

/// Adjusts the checksum for addresses that summed to `before` and sum to `after`, if both of its bytes are there.
pub(super) fn adjust(protocol: u8, payload: &mut [u8], before: u64, after: u64) {
    let Some(offset) = checksum_offset(protocol) else { return };
    let Some(field) = checksum::word(payload, offset) else { return };
    if protocol == protocol::UDP && field == 0 {
        return;
    }
    let mut updated = checksum::update(field, before, after);
    if matches!(protocol, protocol::UDP | protocol::UDP_LITE) {
        updated = checksum::as_udp(updated);
    }
    checksum::set_word(payload, offset, updated);
}

/// Replaces the type of an ICMP message that is otherwise kept, and adjusts its checksum, if it is there, for that and for
/// a pseudo-header that summed to `before` and sums to `after`.
pub(super) fn retype_icmp(message: &mut [u8], icmp_type: u8, before: u64, after: u64) {
    let old_type = message[0];
    message[0] = icmp_type;
    if let Some(field) = checksum::word(message, 2) {
        let before = before + (u64::from(old_type) << 8);
        let after = after + (u64::from(icmp_type) << 8);
        let updated = checksum::update(field, before, after);
        // An ICMPv4 Echo Reply may be zeros all over, whose sum is right with ones only.
        checksum::set_word(message, 2, if icmp_type == 0 { checksum::as_udp(updated) } else { updated });
    }
}
