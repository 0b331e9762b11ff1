//! IPv4 to IPv6 (RFC 7915 section 4), all but ICMP errors.

use xlat_common::{
    checksum::{self, Sum, pseudo_header6, update, update_udp},
    icmp,
    ipv4::{protocol, transport_checksum},
    ipv6::{self, FRAGMENT_HEADER_LEN, HEADER_LEN, MINIMUM_MTU, fragment_header, next_header_of},
    reason::DropReason,
    settings::{dscp, hairpin},
};

use super::{
    address::{Mapped, flag},
    book::{Answer, Book, Decided, Expected, Outcome, sum, sums_up},
    headers::{Header4, Piece, u8_at, u16_at, u32_at, unexpired_source_route},
};

/// The answer where no other is named (RFC 7915 4.4).
pub(super) const PROHIBITED4: Answer =
    Answer { kind: icmp::v4::DESTINATION_UNREACHABLE, code: icmp::v4::ADMINISTRATIVELY_PROHIBITED, rest: 0 };

impl Book<'_> {
    /// What becomes of an IPv4 packet. `second`: the second pass of a hairpinned one (RFC 7757 4.2.2).
    pub(super) fn four_to_six(&mut self, packet: &[u8], second: bool) -> Outcome {
        let Some(header) = Header4::read(packet) else {
            let text = "shorter than an IPv4 header: the kernel gets it untouched";
            return self.pass::<()>("translation.md 2", "", text).expect_err("it passes");
        };
        self.translate4(packet, &header, second).map_or_else(|outcome| outcome, Outcome::Translated)
    }

    fn translate4(&mut self, packet: &[u8], header: &Header4, second: bool) -> Decided<Expected> {
        let kind = icmp_kind(packet, header);
        let is_error = kind.is_some_and(icmp::is_error4);
        if is_for_errors(header, kind) {
            return self.error_to_six(packet, header, kind.unwrap_or(0), second);
        }
        let simple = (second || self.settings.hairpin == hairpin::SIMPLE) && !is_error;
        let (source, destination) = self.both4(header.source, header.destination, (simple, false));
        self.scope4(header, &source, &destination, second)?;
        if !source.is_mapped() {
            return self.out_of_scope(is_own_affair4(header.destination), "the source maps to nothing");
        }
        self.check_header4(packet, header)?;
        self.refuse_addresses((source.flags, &source), (destination.flags, &destination), PROHIBITED4)?;
        self.check_options(packet, header)?;
        if header.protocol == protocol::IGMP {
            return self.drop(DropReason::Igmp, "RFC 7915 4.2", "", "IGMP is for one link, and is not translated");
        }
        self.check_ttl(header, second)?;
        let end = header.total_len;
        let mut payload = packet[header.header_len..end].to_vec();
        self.transport4(header, &mut payload)?;
        let built = self.header6(header, &source, &destination, &payload);
        self.fit6(header, &built, second)?;
        adjust4(header, &source, &destination, &mut payload);
        self.step("checksum", "RFC 7915 4.5; RFC 1624", "", transport_text(header.protocol, header.piece()));
        let mut bytes: Vec<u8> = built.words().iter().flat_map(|word| word.to_be_bytes()).collect();
        if header.is_fragment() {
            let upper_layer = next_header_of(header.protocol);
            bytes.extend(fragment_header(upper_layer, header.fragment, header.identification).to_be_bytes());
        }
        bytes.extend(payload);
        Ok(Expected { foretold: bytes.len(), packet: bytes, any_identification: false, checksum: true })
    }

    /// Whether both addresses are in scope (docs/translation.md 3), but for an unmapped source.
    pub(super) fn scope4(
        &mut self,
        header: &Header4,
        source: &Mapped,
        destination: &Mapped,
        second: bool,
    ) -> Decided<()> {
        let own_affair = is_own_affair4(header.destination);
        if self.flags4(header.destination) & flag::OWN != 0 {
            let text = format!("{} is the relay's own address: the kernel gets the packet", destination.ipv4_text());
            return self.pass("translation.md 3", "", text);
        }
        // The second pass may have the relay's own address in the place of a source without mapping.
        if self.flags4(header.source) & flag::OWN != 0 && !second {
            return self
                .out_of_scope(own_affair, format!("the source {} is the relay's own address", source.ipv4_text()));
        }
        self.note4("source", source);
        self.note4("destination", destination);
        let by_eam = (source.flags | destination.flags) & flag::EAM != 0;
        if !by_eam && self.settings.scope_all == 0 && !second {
            let text = format!("neither address matches an EAM ({})", self.scope());
            return self.out_of_scope(own_affair, text);
        }
        if !destination.is_mapped() {
            return self.out_of_scope(own_affair, "the destination maps to nothing");
        }
        if (source.flags | destination.flags) & flag::OWN != 0 && !second {
            return self.pass_own();
        }
        let by = self.scope();
        let text = if by_eam { "an EAM matches: the packet is translated" } else { "the prefix maps both addresses" };
        self.step("scope", "RFC 7755 3.2", by, text);
        Ok(())
    }

    /// The fixed header and its checksum (docs/translation.md 2).
    pub(super) fn check_header4(&mut self, packet: &[u8], header: &Header4) -> Decided<()> {
        const SOURCE: &str = "RFC 1812 5.2.2";
        if !header.is_sound(packet) {
            let text = format!(
                "version {}, header of {} bytes, Total Length {}, but {} bytes there are",
                header.version,
                header.header_len,
                header.total_len,
                packet.len()
            );
            return self.drop(DropReason::MalformedHeader, SOURCE, "", text);
        }
        if !sums_up(sum(&packet[..header.header_len])) {
            let there = u16_at(packet, 10).unwrap_or(0);
            return self.drop(
                DropReason::Ipv4Checksum,
                SOURCE,
                "",
                format!("the header checksum {there:#06x} is wrong"),
            );
        }
        self.step("header", SOURCE, "", "the IPv4 header can be read, its checksum is right");
        Ok(())
    }

    /// IPv4 options (docs/translation.md 6.2).
    pub(super) fn check_options(&mut self, packet: &[u8], header: &Header4) -> Decided<()> {
        let options = &packet[20..header.header_len];
        match unexpired_source_route(options) {
            Err(reason) => self.drop(reason, "RFC 7915 4.1", "", "a source route's length cannot be true"),
            Ok(true) => {
                let answer =
                    Answer { kind: icmp::v4::DESTINATION_UNREACHABLE, code: icmp::v4::SOURCE_ROUTE_FAILED, rest: 0 };
                self.refuse(DropReason::SourceRoute, answer, "RFC 7915 4.1", "", "a source route with hops left")
            }
            Ok(false) if options.is_empty() => Ok(()),
            Ok(false) => {
                self.step(
                    "options",
                    "RFC 7915 4.1",
                    "",
                    format!("{} bytes of IPv4 options are left out", options.len()),
                );
                Ok(())
            }
        }
    }

    pub(super) fn check_ttl(&mut self, header: &Header4, second: bool) -> Decided<()> {
        if second {
            return Ok(());
        }
        if header.ttl <= 1 {
            let answer = Answer { kind: icmp::v4::TIME_EXCEEDED, code: 0, rest: 0 };
            let text = format!("TTL {} is used up here", header.ttl);
            return self.refuse(DropReason::HopLimitExceeded, answer, "RFC 7915 4.1", "", text);
        }
        self.step("hop limit", "RFC 7915 4.1", "", format!("TTL {} becomes hop limit {}", header.ttl, header.ttl - 1));
        Ok(())
    }

    /// The protocol rules (docs/translation.md 6.4 to 6.6); fills a UDP checksum that is missing.
    fn transport4(&mut self, header: &Header4, payload: &mut [u8]) -> Decided<()> {
        const SOURCE: &str = "RFC 7915 4.5";
        let piece = header.piece();
        if header.protocol == protocol::ICMP {
            if piece != Piece::Whole {
                return self.drop(DropReason::IcmpFragment, "RFC 7915 1.2", "", "a fragment of an ICMP message");
            }
            if payload.len() < icmp::HEADER_LEN as usize {
                return self.drop(DropReason::MalformedTransport, SOURCE, "", "shorter than an ICMP header");
            }
            return Ok(());
        }
        self.check_transport(header.protocol, piece, payload, SOURCE)?;
        if header.protocol == protocol::UDP && piece != Piece::Later && u16_at(payload, 6) == Some(0) {
            if piece != Piece::Whole {
                let text = "a fragment of a UDP packet without checksum";
                return self.drop(DropReason::UdpChecksumZeroFragment, SOURCE, "", text);
            }
            if self.settings.udp_zero_checksum_compute == 0 {
                let by = "udp_zero_checksum = \"drop\"";
                return self.drop(
                    DropReason::UdpChecksumZero,
                    SOURCE,
                    by,
                    "UDP without checksum, which IPv6 does not allow",
                );
            }
            fill_udp_checksum(header, payload);
            self.step(
                "checksum",
                SOURCE,
                "udp_zero_checksum = \"compute\"",
                "the UDP checksum, which is missing, is computed",
            );
        }
        Ok(())
    }

    /// A whole packet must hold its transport header.
    pub(super) fn check_transport(&mut self, number: u8, piece: Piece, payload: &[u8], source: &str) -> Decided<()> {
        match transport_checksum(number) {
            Some((_, least)) if piece == Piece::Whole && payload.len() < least as usize => {
                let text = format!("{} bytes after the IP header, the transport header has {least}", payload.len());
                self.drop(DropReason::MalformedTransport, source, "", text)
            }
            _ => Ok(()),
        }
    }

    /// RFC 7915 4.1, with one taken from the hop limit.
    fn header6(&mut self, header: &Header4, source: &Mapped, destination: &Mapped, payload: &[u8]) -> ipv6::Header {
        let upper_layer = next_header_of(header.protocol);
        let more = if header.is_fragment() { FRAGMENT_HEADER_LEN as usize } else { 0 };
        let has_ports = transport_checksum(header.protocol).is_some_and(|(at, _)| payload.len() >= at as usize + 2);
        let ports = if has_ports && !header.is_fragment() { u32_at(payload, 0).unwrap_or(0) } else { 0 };
        if header.is_fragment() {
            self.step(
                "fragment",
                "RFC 7915 4.1",
                "",
                "a fragment: offset, M and Identification go into a Fragment Header",
            );
        }
        ipv6::Header {
            traffic_class: self.traffic_class(header.tos),
            flow_label: self.flow_label(source, destination, upper_layer, ports),
            payload_len: (payload.len() + more) as u16,
            next_header: if header.is_fragment() { protocol::FRAGMENT } else { upper_layer },
            hop_limit: header.ttl.wrapping_sub(1),
            source: source.ipv6,
            destination: destination.ipv6,
        }
    }

    pub(super) fn traffic_class(&self, tos: u8) -> u8 {
        if self.settings.traffic_class_mode == dscp::FIXED { self.settings.traffic_class as u8 } else { tos }
    }

    pub(super) fn flow_label(&self, source: &Mapped, destination: &Mapped, upper_layer: u8, ports: u32) -> u32 {
        let hashed = self.settings.flow_label_hash != 0;
        if hashed { ipv6::flow_label(source.ipv6, destination.ipv6, upper_layer, ports) } else { 0 }
    }

    /// The way out and the MTU rules (docs/translation.md 6.7 and 6.8).
    fn fit6(&mut self, header: &Header4, built: &ipv6::Header, second: bool) -> Decided<()> {
        let way = (self.route)(std::net::Ipv6Addr::from(built.destination).into());
        self.step("route", "translation.md 11", "", way.text.clone());
        let total_len = HEADER_LEN + u32::from(built.payload_len);
        if header.dont_fragment() {
            if total_len <= way.mtu {
                self.step("mtu", "RFC 7915 4.1", "", format!("{total_len} bytes fit {}", mtu_text(way.mtu)));
                return Ok(());
            }
            let told = way.mtu.saturating_sub(if header.is_fragment() { 28 } else { 20 });
            let answer =
                Answer { kind: icmp::v4::DESTINATION_UNREACHABLE, code: icmp::v4::FRAGMENTATION_NEEDED, rest: told };
            let text = format!(
                "{total_len} bytes, translated, do not fit {}, and DF is set; the sender is told {told}",
                mtu_text(way.mtu)
            );
            return self.refuse(DropReason::PacketTooBig, answer, "RFC 7915 4.1, RFC 1191", "", text);
        }
        if second {
            return Ok(());
        }
        let limit = way.mtu.min(self.settings.lowest_ipv6_mtu).max(MINIMUM_MTU);
        let by = format!("lowest_ipv6_mtu = {}", self.settings.lowest_ipv6_mtu);
        if total_len <= limit {
            self.step("mtu", "RFC 7915 4.1", &by, format!("{total_len} bytes fit {limit}, and DF is clear"));
            return Ok(());
        }
        let text = format!(
            "{total_len} bytes, translated, are over {limit}, and DF is clear: the original goes to the fragmenter, its pieces are translated"
        );
        self.step("fragmented", "RFC 7915 4.1", &by, text);
        if self.settings.fragmenter_ifindex == 0 {
            return Err(Outcome::Dropped(DropReason::Internal, None));
        }
        Err(Outcome::Fragmented)
    }
}

/// An MTU in words.
pub(super) fn mtu_text(mtu: u32) -> String {
    if mtu == u32::MAX { "whatever the kernel finds".to_owned() } else { format!("the MTU of {mtu}") }
}

/// What becomes of the transport header, in words.
pub(super) fn transport_text(number: u8, piece: Piece) -> String {
    match number {
        _ if piece == Piece::Later => "a later fragment has no transport header: nothing to adjust".to_owned(),
        protocol::ICMP | protocol::ICMPV6 => {
            "the echo's type is translated, its checksum updated for type and pseudo-header".to_owned()
        }
        _ if transport_checksum(number).is_some() => {
            "the transport checksum is updated for the new addresses".to_owned()
        }
        _ => format!("protocol {number} is carried as it is"),
    }
}

/// What of destinations in no scope is the machine's own affair: multicast, broadcast, link-local.
pub(super) fn is_own_affair4(destination: u32) -> bool {
    destination >> 28 == 0xe || destination >> 16 == 0xa9fe || destination == u32::MAX
}

/// The type of an ICMP message, where it is there.
fn icmp_kind(packet: &[u8], header: &Header4) -> Option<u8> {
    let is_there =
        header.protocol == protocol::ICMP && header.piece() != Piece::Later && header.total_len > header.header_len;
    u8_at(packet, header.header_len).filter(|_| is_there)
}

/// Whether it is an ICMP error, be it a fragment or cut short, or a whole message that is no echo.
fn is_for_errors(header: &Header4, kind: Option<u8>) -> bool {
    let Some(kind) = kind else { return false };
    let whole = !header.is_fragment() && header.total_len >= header.header_len + icmp::HEADER_LEN as usize;
    if whole { icmp::echo_to_six(kind).is_none() } else { icmp::is_error4(kind) }
}

/// Gives a UDP packet without checksum the one that it could have had in IPv4.
fn fill_udp_checksum(header: &Header4, payload: &mut [u8]) {
    let length = u16_at(payload, 4).unwrap_or(0);
    let length = if length < 8 || usize::from(length) > payload.len() { payload.len() as u16 } else { length };
    let pseudo_header =
        Sum::ZERO.add32(header.source).add32(header.destination).add16(u16::from(protocol::UDP)).add16(length);
    let checksum = match sum(&payload[..usize::from(length)]).add(pseudo_header).checksum() {
        0 => 0xffff,
        checksum => checksum,
    };
    payload[6..8].copy_from_slice(&checksum.to_be_bytes());
}

fn adjust4(header: &Header4, source: &Mapped, destination: &Mapped, payload: &mut [u8]) {
    if header.protocol == protocol::ICMP {
        let pseudo_header = pseudo_header6(source.ipv6, destination.ipv6, payload.len() as u32, protocol::ICMPV6);
        if let Some(kind) = icmp::echo_to_six(payload[0]) {
            adjust_echo(payload, kind, pseudo_header);
        }
        return;
    }
    if header.piece() != Piece::Later {
        let delta = checksum::four_to_six(header.source, header.destination, source.ipv6, destination.ipv6);
        adjust_transport(header.protocol, payload, delta);
    }
}

/// Changes an echo's type, and its checksum with it.
pub(super) fn adjust_echo(message: &mut [u8], kind: u8, pseudo_header: Sum) {
    let words = [u16_at(message, 0).unwrap_or(0), u16_at(message, 2).unwrap_or(0)];
    let changed = icmp::change_type(words, kind, pseudo_header);
    message[..4].copy_from_slice(&changed.map(u16::to_be_bytes).concat());
}

/// Updates a transport checksum, if there is one and its field is there. UDP without checksum stays without.
pub(super) fn adjust_transport(number: u8, payload: &mut [u8], delta: Sum) {
    let Some((at, _)) = transport_checksum(number) else { return };
    let at = at as usize;
    let Some(old) = u16_at(payload, at) else { return };
    let new = match (number, old) {
        (protocol::UDP, 0) => return,
        (protocol::UDP | protocol::UDP_LITE, _) => update_udp(old, delta),
        _ => update(old, delta),
    };
    payload[at..at + 2].copy_from_slice(&new.to_be_bytes());
}
