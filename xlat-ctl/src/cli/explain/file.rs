//! A packet out of a capture, pcap or pcapng, or out of hexadecimal digits.

use std::{fs::File, path::Path};

use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader, traits::PcapNGPacketBlock as _};

/// Longest block that is read, bytes.
const BUFFER: usize = 1 << 20;

/// The packet with a number, from 1, from its IP header on.
///
/// # Errors
/// The file cannot be read, has fewer packets, or that one is neither IPv4 nor IPv6.
pub(super) fn packet(path: &Path, number: usize) -> Result<Vec<u8>, String> {
    let place = path.display();
    let file = File::open(path).map_err(|error| format!("--pcap {place}: {}", crate::plain(&error)))?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(format!("--pcap {place}: this is a directory; a capture belongs here"));
    }
    let unreadable = |what: &str| format!("--pcap {place}: {what}");
    const NEITHER: &str = "this is neither pcap nor pcapng (one that is packed is to be unpacked before)";
    let mut reader = create_reader(BUFFER, file).map_err(|error| match error {
        PcapError::Eof => unreadable("the file is empty"),
        PcapError::ReadError => unreadable("it cannot be read"),
        _ => unreadable(NEITHER),
    })?;
    // The link type of each interface of a pcapng section; of a pcap file, its only one.
    let mut links: Vec<Linktype> = Vec::new();
    let mut count = 0;
    loop {
        let (consumed, block) = match reader.next() {
            Ok(found) => found,
            Err(PcapError::Eof) => return Err(format!("--pcap {place}: there is no packet {number}, it has {count}")),
            Err(PcapError::Incomplete(_)) => match reader.refill() {
                Ok(()) => continue,
                Err(PcapError::BufferTooSmall) => {
                    return Err(unreadable(&format!("block {} is larger than {BUFFER} bytes", count + 1)));
                }
                Err(_) => return Err(unreadable("it cannot be read")),
            },
            Err(PcapError::UnexpectedEof) => {
                return Err(unreadable(&format!("the file ends within a block, after {count} packets")));
            }
            Err(_) => return Err(unreadable(&format!("it is damaged after {count} packets"))),
        };
        let found = match &block {
            PcapBlockOwned::LegacyHeader(header) => {
                links = vec![header.network];
                None
            }
            PcapBlockOwned::Legacy(packet) => Some((0, packet.data, packet.origlen)),
            PcapBlockOwned::NG(Block::SectionHeader(_)) => {
                links.clear();
                None
            }
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                links.push(interface.linktype);
                None
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                Some((packet.if_id as usize, packet.packet_data(), packet.origlen))
            }
            PcapBlockOwned::NG(Block::SimplePacket(packet)) => Some((0, packet.packet_data(), packet.origlen)),
            PcapBlockOwned::NG(_) => None,
        };
        if let Some((interface, data, length)) = found {
            count += 1;
            if count == number {
                let name = format!("--pcap {place}: packet {number}");
                let data = data.get(..length as usize).unwrap_or(data);
                if data.len() < length as usize {
                    return Err(format!(
                        "{name} was cut to {} of its {length} bytes: capture with `tcpdump -s 0`",
                        data.len()
                    ));
                }
                let link = links.get(interface).copied().ok_or_else(|| format!("{name} has no link type"))?;
                return without_link(link, data).map_err(|text| format!("{name} {text}"));
            }
        }
        reader.consume(consumed);
    }
}

fn without_link(link: Linktype, data: &[u8]) -> Result<Vec<u8>, String> {
    const SLL2: Linktype = Linktype(276);
    let skipped = match link {
        Linktype::ETHERNET => return frame(data),
        Linktype::RAW | Linktype::IPV4 | Linktype::IPV6 => 0,
        Linktype::LINUX_SLL => 16,
        SLL2 => 20,
        Linktype(other) => {
            return Err(format!("was captured with the link type {other}: capture on an Ethernet interface"));
        }
    };
    ip(data.get(skipped..).unwrap_or(&[]))
}

/// An Ethernet frame's packet.
fn frame(data: &[u8]) -> Result<Vec<u8>, String> {
    let mut at = 12;
    loop {
        let Some(ether_type) = data.get(at..at + 2) else {
            return Err("is shorter than an Ethernet header".to_owned());
        };
        at += 2;
        match u16::from_be_bytes([ether_type[0], ether_type[1]]) {
            0x8100 | 0x88a8 => at += 2,
            0x0800 | 0x86dd => return ip(&data[at..]),
            other => {
                return Err(format!("is neither IPv4 nor IPv6 (EtherType {other:#06x}): the kernel gets it untouched"));
            }
        }
    }
}

/// Without the padding that short Ethernet frames have.
fn ip(packet: &[u8]) -> Result<Vec<u8>, String> {
    let length = |at: usize| packet.get(at..at + 2).map(|bytes| usize::from(u16::from_be_bytes([bytes[0], bytes[1]])));
    let length = match packet.first().map(|first| first >> 4) {
        Some(4) => length(2),
        Some(6) => length(4).map(|length| length + 40),
        _ => return Err("is neither IPv4 nor IPv6".to_owned()),
    };
    // One that lies about its length is to be judged as it is.
    let end = length.filter(|length| (20..=packet.len()).contains(length)).unwrap_or(packet.len());
    Ok(packet[..end].to_vec())
}

/// How long the IP packet is that begins here, by its header. `None`: there is no such header, or it lies.
fn stated_length(bytes: &[u8]) -> Option<usize> {
    let number = |at: usize| usize::from(bytes[at]) << 8 | usize::from(bytes[at + 1]);
    let (header, length) = match bytes.first()? {
        first @ 0x45..=0x4f if bytes.len() >= 20 => (usize::from(first & 15) * 4, number(2)),
        0x60..=0x6f if bytes.len() >= 40 => (40, number(4) + 40),
        _ => return None,
    };
    (header..=bytes.len()).contains(&length).then_some(length)
}

/// What an Ethernet frame carries, if it is what its EtherType says.
fn inside(bytes: &[u8]) -> Option<&[u8]> {
    let mut at = 12;
    while matches!(bytes.get(at..at + 2), Some([0x81, 0x00] | [0x88, 0xa8])) {
        at += 4;
    }
    match bytes.get(at..at + 3) {
        Some([0x08, 0x00, 0x40..=0x4f] | [0x86, 0xdd, 0x60..=0x6f]) => Some(&bytes[at + 2..]),
        _ => None,
    }
}

/// A packet in hexadecimal digits, from its IP or its Ethernet header on; blanks and colons between them do not count.
///
/// # Errors
/// Something else.
pub(super) fn hexadecimal(text: &str) -> Result<Vec<u8>, String> {
    let digits: String = text.chars().filter(|letter| !letter.is_whitespace() && *letter != ':').collect();
    let digits = digits.strip_prefix("0x").unwrap_or(&digits);
    let bytes = hex::decode(digits)
        .map_err(|error| format!("--hex: {error}: give hexadecimal digits, two for a byte, such as 4500001c…"))?;
    let may_be_ip = matches!(bytes.first().map(|first| first >> 4), Some(4 | 6));
    let in_frame = inside(&bytes);
    // Link-layer addresses may look like an IP header, and IP addresses like an EtherType: lengths tell.
    let is_packet = match (stated_length(&bytes), in_frame.and_then(stated_length)) {
        (Some(length), Some(_)) => length == bytes.len(),
        (Some(_), None) => true,
        (None, Some(_)) => false,
        (None, None) => in_frame.is_none(),
    };
    if may_be_ip && is_packet {
        return ip(&bytes).map_err(|text| format!("--hex: this {text}"));
    }
    frame(&bytes).map_err(|text| format!("--hex: this {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(bytes: &str) -> Result<Vec<u8>, String> {
        hexadecimal(bytes)
    }

    const IPV4: &str = "4500001c 00004000 40110000 cb007107 c633640a 12670035 0008 0000";
    const IPV6: &str =
        "60000000 00081140 20010db8 05e10001 00000000 00000010 20010db8 64640000 00000000 cb007107 00351267 00080000";

    #[test]
    fn a_frame_is_told_from_a_packet() {
        for ip in [IPV4, IPV6] {
            let bare = packet(ip).unwrap();
            let kind = if ip == IPV4 { "0800" } else { "86dd" };
            // Link-layer addresses that begin like an IP header, and VLAN tags.
            for macs in [
                "02:00:00:00:00:01 02:00:00:00:00:02",
                "48:00:01:02:03:04 6c:00:00:00:00:02",
                "60:ff:ff:ff:00:01 45:00:00:00:00:02",
            ] {
                for tags in ["", "81000064", "88a80007 81000064"] {
                    assert_eq!(packet(&format!("{macs}{tags}{kind}{ip}")).as_ref(), Ok(&bare), "{macs} {tags}");
                }
            }
        }
    }

    #[test]
    fn addresses_that_look_like_an_ether_type_are_addresses() {
        for source in ["08000001", "86dd6001"] {
            let bytes = IPV4.replace("cb007107", source);
            assert_eq!(packet(&bytes).unwrap().len(), 28, "{bytes}");
        }
        let bytes = IPV6.replace("20010db8 05e10001", "20010db8 08004001");
        assert_eq!(packet(&bytes).unwrap().len(), 48, "{bytes}");
    }
}
