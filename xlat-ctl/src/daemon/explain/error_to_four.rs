//! ICMPv6 errors to ICMPv4 (RFC 7915 5.2, 5.3), with sources from a pool where they map to nothing (RFC 6791).

use std::net::Ipv4Addr;

use xlat_common::{
    address::Ipv6,
    checksum::{self, Sum, pseudo_header6},
    extension::{self, Layout, Parts, UNIT4, UNIT6},
    icmp::{self, Rest},
    ipv4::{self, LARGEST_ICMP_ERROR, fragment_by_size, protocol},
    ipv6::{HEADER_LEN, ipv4_fragment, protocol_of},
    reason::DropReason,
    settings::hairpin,
};

use super::{
    address::{Mapped, flag},
    book::{Book, Decided, Expected, Outcome, sum, sums_up},
    headers::{Chain, Header6, Piece, u8_at, u32_at},
    icmp_error::{ICMP_LEN, Inner, icmp_message},
    six_to_four::{PROHIBITED6, is_own_affair6},
};

const TYPES6: &str = "RFC 7915 5.2";
const INNER6: &str = "RFC 7915 5.3";

impl Book<'_> {
    /// An ICMPv6 message that is no echo.
    pub(super) fn error_to_four(
        &mut self,
        packet: &[u8],
        header: &Header6,
        source: &Mapped,
        destination: &Mapped,
    ) -> Decided<Expected> {
        let (chain, inner) = self.judge_error6(packet, header, source, destination)?;
        let message = &packet[chain.offset..header.end()];
        let (kind, code, word) = (message[0], message[1], u32_at(message, 4).unwrap_or(0));
        let error = self.translated_type(icmp::error_to_four(kind, code, word), (kind, code), TYPES6)?;
        let Some((from, to)) = inner else { return self.no_inner(INNER6, "it is shorter than an IPv6 header") };
        let hairpinned = from.flags & flag::HAIRPIN != 0 && self.settings.hairpin == hairpin::INTRINSIC;
        if hairpinned && self.both4(destination.ipv4, destination.ipv4, (false, false)).1.flags & flag::OWN != 0 {
            // In the second pass it would be too late.
            return self.pass_own();
        }
        let (bytes, layout, has_fragment) = self.inner4(message, word, &from, &to)?;
        let way = (self.route)(Ipv4Addr::from(destination.ipv4).into());
        if !hairpinned {
            self.step("route", "translation.md 11", "", way.text.clone());
        }
        // Where there is no way, the routing table was asked for the interface of arrival.
        let asked = if hairpinned || way.ifindex == 0 { self.arrival.ifindex } else { way.ifindex };
        let from = self.outer_source4(header, source, asked)?;
        let way_mtu = if hairpinned { u32::MAX } else { way.mtu };
        let second_word = self.second_word4(error.rest, word, &layout, has_fragment, way_mtu);
        let total_len = (20 + ICMP_LEN + bytes.len()) as u16;
        let out = ipv4::Header {
            tos: self.tos(header.traffic_class),
            total_len,
            identification: chain.fragment.map_or(0, |(_, identification)| identification as u16),
            fragment: if chain.fragment.is_some() { 0 } else { fragment_by_size(total_len.into()) },
            ttl: header.hop_limit.wrapping_sub(u8::from(!hairpinned)),
            protocol: protocol::ICMP,
            source: from,
            destination: destination.ipv4,
        };
        let pseudo_header = pseudo_header6(header.source, header.destination, message.len() as u32, protocol::ICMPV6);
        let checksum = sums_up(sum(message).add(pseudo_header));
        let mut packet: Vec<u8> = out.words().iter().flat_map(|word| word.to_be_bytes()).collect();
        packet.extend(icmp_message(&error, second_word, &bytes, Sum::ZERO));
        let informed = !source.is_mapped() && self.settings.interface_info != 0;
        if informed {
            let text = "an Interface Information Object with the true source is appended, where it fits";
            self.step("interface information", "RFC 6791 4, RFC 5837", "interface_info = true", text);
        }
        // What is appended changes lengths and checksums: of such a packet only the verdict is compared.
        let foretold = if informed { 0 } else { packet.len() };
        if hairpinned {
            let expected = self.hairpin_error(&packet, checksum)?;
            return Ok(Expected { foretold: expected.foretold.min(foretold), ..expected });
        }
        Ok(Expected { foretold, packet, any_identification: chain.fragment.is_none(), checksum })
    }

    /// Everything that is decided before the message itself: gives where it is, and how the packet in error's addresses map.
    fn judge_error6(
        &mut self,
        packet: &[u8],
        header: &Header6,
        source: &Mapped,
        destination: &Mapped,
    ) -> Decided<(Chain, Option<(Mapped, Mapped)>)> {
        let end = header.end().min(packet.len());
        let through = Chain::follow(packet, header.next_header, header.end(), true);
        let chain = self.unbroken(through)?;
        let at = chain.offset;
        let kind = u8_at(packet, at).filter(|_| at < header.end());
        let is_error = kind.is_some_and(icmp::is_error6);
        let inner_at = at + ICMP_LEN;
        let quoted = packet.get(inner_at..).and_then(Header6::read).filter(|_| inner_at + 40 <= header.end());
        let inner = quoted.map(|inner| (self.map6(inner.source), self.map6(inner.destination)));
        let own_affair = is_own_affair6(header);
        let mut flags = source.flags | destination.flags;
        if !source.is_mapped() {
            if !is_error && source.flags & flag::ILLEGAL != 0 {
                return self.drop(
                    DropReason::IllegalSource,
                    "RFC 7915 5.1",
                    "",
                    "no packet for the translator may come from there",
                );
            }
            match &inner {
                Some((from, to)) if is_error && from.is_mapped() && to.is_mapped() => flags = from.flags | to.flags,
                _ => {
                    return self
                        .out_of_scope(own_affair, "the source maps to nothing, nor does the packet in error map");
                }
            }
        }
        self.scope6(own_affair, flags & flag::EAM != 0)?;
        self.check_header6(packet, header)?;
        self.refuse_addresses((source.flags, source), (destination.flags, destination), PROHIBITED6)?;
        let chain = self.check_chain(Chain::follow(packet, header.next_header, end, false))?;
        let is_whole = chain.piece() == Piece::Whole && end >= inner_at;
        if !is_error && is_whole {
            let text =
                format!("ICMPv6 type {} is no error and no echo: it has no equivalent in ICMPv4", kind.unwrap_or(0));
            return self.drop(DropReason::IcmpType, TYPES6, "", text);
        }
        self.check_hop_limit(header)?;
        if chain.piece() != Piece::Whole {
            return self.drop(DropReason::IcmpFragment, "RFC 7915 1.2", "", "a fragment of an ICMPv6 message");
        }
        if !is_whole {
            return self.drop(DropReason::MalformedTransport, "RFC 7915 5.5", "", "shorter than an ICMPv6 header");
        }
        Ok((chain, inner))
    }

    /// What follows the checksum of the ICMPv4 error.
    fn second_word4(&mut self, rest: Rest, word: u32, layout: &Layout, has_fragment: bool, way_mtu: u32) -> u32 {
        let attribute = layout.attribute(UNIT4) & 0xff;
        match rest {
            Rest::Unused => (word >> 16 & 0xff) << 24 | attribute << 16 | word & 0xffff,
            Rest::Pointer(pointer) => u32::from(pointer) << 24 | attribute << 16,
            Rest::Zero => attribute << 16,
            Rest::Mtu => {
                let mtu = icmp::mtu_to_four(word, has_fragment, way_mtu, self.arrival.mtu);
                self.step("mtu", TYPES6, "", format!("the MTU {word} becomes {mtu}"));
                attribute << 16 | mtu & 0xffff
            }
        }
    }

    /// The second pass of an error about a hairpinned packet.
    fn hairpin_error(&mut self, packet: &[u8], checksum: bool) -> Decided<Expected> {
        let text = "the packet in error was hairpinned: back to IPv6 at once";
        self.step("hairpin", "RFC 7757 4.2.2", "hairpin = \"intrinsic\"", text);
        match self.four_to_six(packet, true) {
            Outcome::Translated(expected) => Ok(Expected { checksum, ..expected }),
            other => Err(other),
        }
    }

    /// The source of an ICMPv4 error: as it maps, else of the pool, else the relay's own on the way out.
    fn outer_source4(&mut self, header: &Header6, source: &Mapped, ifindex: u32) -> Decided<u32> {
        if source.is_mapped() {
            return Ok(source.ipv4);
        }
        if let Some(pooled) = self.ipv4_pool(header.source) {
            let text = format!("{} takes {} of the pool", source.ipv6_text(), Ipv4Addr::from(pooled));
            self.step("pool", "RFC 6791", "ipv4_pool", text);
            return Ok(pooled);
        }
        match (self.own_ipv4)(ifindex) {
            0 => self.drop(
                DropReason::NoSource,
                "RFC 6791",
                "ipv4_pool = []",
                "no pool, and the relay has no IPv4 address",
            ),
            own => {
                let text = format!("{} takes {}, the relay's own", source.ipv6_text(), Ipv4Addr::from(own));
                self.step("pool", "RFC 6791", "ipv4_pool = []", text);
                Ok(own)
            }
        }
    }

    fn ipv4_pool(&self, source: Ipv6) -> Option<u32> {
        let hash = icmp::pool_hash(source.hi.rotate_left(23) ^ source.lo);
        let mut index = ((hash >> 32) as u32).checked_rem(self.settings.ipv4_pool_size)?;
        for range in self.settings.ipv4_pool.iter().take(self.settings.ipv4_pool_count as usize) {
            if index < range.count {
                return Some(range.first.wrapping_add(index));
            }
            index -= range.count;
        }
        None
    }

    /// The packet in an ICMPv6 error, in IPv4; the layout; whether it has a Fragment Header.
    fn inner4(&mut self, message: &[u8], word: u32, from: &Mapped, to: &Mapped) -> Decided<(Vec<u8>, Layout, bool)> {
        let payload = &message[ICMP_LEN..];
        let Some(inner) = Header6::read(payload) else {
            return self.no_inner(INNER6, "it is shorter than an IPv6 header");
        };
        let has_attribute = matches!(message[0], icmp::v6::DESTINATION_UNREACHABLE | icmp::v6::TIME_EXCEEDED);
        let attribute = if has_attribute { (word >> 24) * UNIT6 } else { 0 };
        let parts = extension::received(payload.len() as u32, attribute, HEADER_LEN);
        if parts.original < HEADER_LEN || inner.version != 6 {
            return self.no_inner(INNER6, "its header cannot be read");
        }
        self.note6("inner source", from);
        self.note6("inner destination", to);
        self.inner_flags(from, to, INNER6)?;
        let original = parts.original as usize;
        let Ok(chain) = Chain::follow(payload, inner.next_header, original, false) else {
            return self.no_inner(INNER6, "its extension headers cannot be followed");
        };
        if inner.end() < chain.offset || original < chain.offset {
            return self.no_inner(INNER6, "it is cut within its headers");
        }
        let upper_len = inner.end() - chain.offset;
        // What follows the inner packet's end is padding.
        let available = if chain.piece() == Piece::Later { 0 } else { original.min(inner.end()) - chain.offset };
        let number = if chain.upper_layer == protocol::ICMP { 255 } else { chain.upper_layer };
        let kind = self.inner_icmp(number, &payload[chain.offset..], available, INNER6)?;
        let total_len = upper_len + 20;
        if total_len > 0xffff {
            return self.no_inner(INNER6, "it would be too long for IPv4");
        }
        let (identification, fragment) = chain
            .fragment
            .map_or((0, fragment_by_size(total_len as u32)), |(word, id)| (id as u16, ipv4_fragment(word)));
        let head = ipv4::Header {
            tos: self.tos(inner.traffic_class),
            total_len: total_len as u16,
            identification,
            fragment,
            ttl: inner.hop_limit,
            protocol: protocol_of(chain.upper_layer),
            source: from.ipv4,
            destination: to.ipv4,
        };
        let delta = if chain.upper_layer == protocol::ICMPV6 {
            Sum::ZERO.sub(pseudo_header6(inner.source, inner.destination, upper_len as u32, protocol::ICMPV6))
        } else {
            checksum::six_to_four(inner.source, inner.destination, from.ipv4, to.ipv4)
        };
        let new = Parts { original: parts.original - chain.offset as u32 + ipv4::HEADER_LEN, ..parts };
        let layout = extension::layout(new, UNIT4, LARGEST_ICMP_ERROR - ipv4::HEADER_LEN - icmp::HEADER_LEN);
        let inner = Inner {
            headers: head.words().iter().flat_map(|word| word.to_be_bytes()).collect(),
            rest: payload[chain.offset..original].to_vec(),
            layout,
            extension: payload[original..].to_vec(),
        };
        self.step("inner packet", INNER6, "", "the packet in error is translated too");
        Ok((inner.bytes(number, kind, available, delta), layout, chain.fragment.is_some()))
    }
}
