//! ICMP errors, the packet in error included (RFC 7915 4.2, 4.3, 5.2, 5.3; docs/translation.md 8).

use std::net::{Ipv4Addr, Ipv6Addr};

use xlat_common::{
    address::Ipv6,
    checksum::{self, Sum, pseudo_header6},
    extension::{self, Layout, Parts, UNIT4, UNIT6},
    icmp::{self, Rest},
    ipv4::{self, LARGEST_ICMP_ERROR, fragment_by_size, protocol},
    ipv6::{
        self, FRAGMENT_HEADER_LEN, HEADER_LEN, MINIMUM_MTU, fragment_header, ipv4_fragment, next_header_of, protocol_of,
    },
    reason::DropReason,
    settings::hairpin,
};

use super::{
    address::{Mapped, flag},
    book::{Answer, Book, Decided, Expected, Outcome, sum, sums_up},
    four_to_six::{PROHIBITED4, adjust_transport, is_own_affair4},
    headers::{Chain, Header4, Header6, Piece, u8_at, u16_at, u32_at},
    six_to_four::{PROHIBITED6, is_own_affair6},
};

const ICMP_LEN: usize = icmp::HEADER_LEN as usize;
const TYPES4: &str = "RFC 7915 4.2";
const TYPES6: &str = "RFC 7915 5.2";
const INNER4: &str = "RFC 7915 4.3";
const INNER6: &str = "RFC 7915 5.3";

/// A message after its ICMP header, in the other family: the inner headers to come, and what follows them.
struct Inner {
    headers: Vec<u8>,
    /// The inner packet after its headers.
    rest: Vec<u8>,
    layout: Layout,
    /// The extension structure, as received.
    extension: Vec<u8>,
}

impl Inner {
    /// The bytes after the ICMP header. `number` is the inner protocol before translation, 255 where nothing is to be adjusted;
    /// `available`: bytes there are of the inner transport.
    fn bytes(&self, number: u8, kind: Option<u8>, available: usize, delta: Sum) -> Vec<u8> {
        let kept = (self.layout.original as usize).saturating_sub(self.headers.len()).min(self.rest.len());
        let mut rest = self.rest[..kept].to_vec();
        let available = available.min(kept);
        match kind {
            Some(kind) if available > 0 => {
                let change = Sum::ZERO.add16(u16::from(kind) << 8).sub(Sum::ZERO.add16(u16::from(rest[0]) << 8));
                rest[0] = kind;
                if available >= 4 {
                    let old = u16_at(&rest, 2).unwrap_or(0);
                    rest[2..4].copy_from_slice(&checksum::update(old, delta.add(change)).to_be_bytes());
                }
            }
            Some(_) => {}
            None => adjust_transport(number, &mut rest[..available], delta),
        }
        let mut bytes = self.headers.clone();
        bytes.extend(rest);
        bytes.resize(bytes.len() + self.layout.padding as usize, 0);
        bytes.extend(&self.extension[..(self.layout.extension as usize).min(self.extension.len())]);
        bytes
    }
}

impl Book<'_> {
    /// An ICMPv4 message that is no echo.
    pub(super) fn error_to_six(
        &mut self,
        packet: &[u8],
        header: &Header4,
        kind: u8,
        second: bool,
    ) -> Decided<Expected> {
        let is_error = icmp::is_error4(kind);
        let own_affair = is_own_affair4(header.destination);
        let simple = second || self.settings.hairpin == hairpin::SIMPLE;
        let inner_at = header.header_len + ICMP_LEN;
        let inner =
            if inner_at + 20 <= header.total_len { packet.get(inner_at..).and_then(Header4::read) } else { None };
        let from_inner = inner.is_some_and(|inner| inner.destination == header.source);
        let without = simple && (!is_error || from_inner);
        let (source, destination) = self.both4(header.source, header.destination, (without, false));
        self.scope4(header, &source, &destination, second)?;
        if !source.is_mapped() {
            let has_eam = |address| self.flags4(address) & flag::EAM != 0;
            let in_scope = is_error && !simple && inner.is_some_and(|i| has_eam(i.source) && has_eam(i.destination));
            if !in_scope {
                return self
                    .out_of_scope(own_affair, "the source maps to nothing, nor does the packet in error map by EAMs");
            }
        }
        self.check_header4(packet, header)?;
        let from = self.outer_source6(header, &source, &destination, is_error)?;
        self.check_options(packet, header)?;
        if !is_error {
            let text = format!("ICMP type {kind} is no error and no echo: it has no equivalent in ICMPv6");
            return self.drop(DropReason::IcmpType, TYPES4, "", text);
        }
        self.check_ttl(header, second)?;
        if header.is_fragment() {
            return self.drop(DropReason::IcmpFragment, "RFC 7915 1.2", "", "a fragment of an ICMP message");
        }
        let message = &packet[header.header_len..header.total_len];
        if message.len() < ICMP_LEN {
            return self.drop(DropReason::MalformedTransport, "RFC 7915 4.5", "", "shorter than an ICMP header");
        }
        let (code, word) = (message[1], u32_at(message, 4).unwrap_or(0));
        let error = self.translated_type(icmp::error_to_six(kind, code, (word >> 24) as u8), (kind, code), TYPES4)?;
        let (bytes, inner_total) = self.inner6(message, word, error.rest, simple)?;
        let Some(from) = from else {
            let by = "ipv6_pool = []";
            return self.drop(
                DropReason::NoSource,
                "RFC 6791",
                by,
                "the source maps to nothing, and there is no pool to take one from",
            );
        };
        let way = (self.route)(Ipv6Addr::from(destination.ipv6).into());
        self.step("route", "translation.md 11", "", way.text.clone());
        let attribute = bytes.1.attribute(UNIT6);
        let second_word = match error.rest {
            Rest::Unused => attribute << 24 | (word >> 24) << 16 | word & 0xffff,
            Rest::Pointer(pointer) => pointer.into(),
            Rest::Zero => 0,
            Rest::Mtu => {
                let told = match word & 0xffff {
                    0 => icmp::plateau(self.settings.plateaus.iter().copied(), inner_total),
                    mtu => mtu,
                };
                let mtu = icmp::mtu_to_six(told, way.mtu, if second { u32::MAX } else { self.arrival.mtu });
                self.step("mtu", TYPES4, "", format!("the MTU {} becomes {mtu}", word & 0xffff));
                mtu
            }
        };
        let message_was_right = sums_up(sum(message));
        let out = ipv6::Header {
            traffic_class: self.traffic_class(header.tos),
            flow_label: self.flow_label(&Mapped { ipv6: from, ..source }, &destination, protocol::ICMPV6, 0),
            payload_len: (ICMP_LEN + bytes.0.len()) as u16,
            next_header: protocol::ICMPV6,
            hop_limit: header.ttl.wrapping_sub(1),
            source: from,
            destination: destination.ipv6,
        };
        let pseudo_header = pseudo_header6(out.source, out.destination, u32::from(out.payload_len), protocol::ICMPV6);
        let mut packet: Vec<u8> = out.words().iter().flat_map(|word| word.to_be_bytes()).collect();
        packet.extend(icmp_message(&error, second_word, &bytes.0, pseudo_header));
        Ok(Expected { foretold: packet.len(), packet, any_identification: false, checksum: message_was_right })
    }

    /// Refuses by the outer addresses of an ICMPv4 message; an error's source may be illegal (RFC 7915 4.1), and one that maps to
    /// nothing, or may not stand in the well-known prefix, is replaced from the pool. `None`: it is to be, and there is none.
    fn outer_source6(
        &mut self,
        header: &Header4,
        source: &Mapped,
        destination: &Mapped,
        is_error: bool,
    ) -> Decided<Option<Ipv6>> {
        let mut flags = source.flags;
        let mut from = Some(source.ipv6);
        if is_error {
            flags &= !flag::ILLEGAL;
            if !source.is_mapped() || flags & flag::NON_GLOBAL != 0 {
                match self.ipv6_pool(header.source) {
                    Some(pooled) => {
                        let text = format!("{} takes {} of the pool", source.ipv4_text(), Ipv6Addr::from(pooled));
                        self.step("pool", "RFC 6791", "ipv6_pool", text);
                        from = Some(pooled);
                        flags &= !flag::NON_GLOBAL;
                    }
                    None if !source.is_mapped() => from = None,
                    None => {}
                }
            }
        }
        self.refuse_addresses((flags, source), (destination.flags, destination), PROHIBITED4)?;
        Ok(from)
    }

    fn ipv6_pool(&self, source: u32) -> Option<Ipv6> {
        let hash = icmp::pool_hash(source.into());
        let index = ((hash >> 32) as u32).checked_rem(self.settings.ipv6_pool_count)?;
        let range = self.settings.ipv6_pool[index as usize];
        let offset = u64::from(hash as u32).checked_rem(range.count)?;
        Some(Ipv6 { hi: range.first.hi, lo: range.first.lo.wrapping_add(offset) })
    }

    /// What a type and code become, or why not.
    fn translated_type(
        &mut self,
        translated: Result<icmp::Error, DropReason>,
        (kind, code): (u8, u8),
        source: &str,
    ) -> Decided<icmp::Error> {
        match translated {
            Ok(error) => {
                let text = format!("type {kind} code {code} becomes type {} code {}", error.kind, error.code);
                self.step("icmp", source, "", text);
                Ok(error)
            }
            Err(reason) => {
                let text = format!("type {kind} code {code} has no equivalent in the other family");
                self.drop(reason, source, "", text)
            }
        }
    }

    /// The packet in an ICMPv4 error, in IPv6, with the layout; and its Total Length.
    fn inner6(&mut self, message: &[u8], word: u32, rest: Rest, simple: bool) -> Decided<((Vec<u8>, Layout), u32)> {
        let payload = &message[ICMP_LEN..];
        let Some(inner) = Header4::read(payload) else {
            return self.no_inner(INNER4, "it is shorter than an IPv4 header");
        };
        let parts = extension::received(payload.len() as u32, (word >> 16 & 0xff) * UNIT4, inner.header_len as u32);
        let readable = inner.version == 4
            && inner.header_len >= 20
            && parts.original as usize >= inner.header_len
            && inner.total_len >= inner.header_len;
        if !readable {
            return self.no_inner(INNER4, "its header cannot be read");
        }
        let (source, destination) = self.both4(inner.source, inner.destination, (false, simple));
        self.note4("inner source", &source);
        self.note4("inner destination", &destination);
        self.inner_flags(&source, &destination, INNER4)?;
        let upper_layer = next_header_of(inner.protocol);
        let upper_len = inner.total_len - inner.header_len;
        let more = if inner.is_fragment() { FRAGMENT_HEADER_LEN as usize } else { 0 };
        if upper_len + more > 0xffff || inner.protocol == protocol::IGMP {
            return self.no_inner(INNER4, "it has no translation");
        }
        let is_unused = rest == Rest::Unused;
        let quoted =
            if !is_unused && parts.has_attribute { parts.original.min(inner.total_len as u32) } else { parts.original };
        let available = if inner.piece() == Piece::Later { 0 } else { quoted as usize - inner.header_len };
        let number = if inner.protocol == protocol::ICMPV6 { 255 } else { inner.protocol };
        let kind = self.inner_icmp(number, payload.get(inner.header_len..).unwrap_or(&[]), available, INNER4)?;
        let head = ipv6::Header {
            traffic_class: self.traffic_class(inner.tos),
            flow_label: self.flow_label(&source, &destination, upper_layer, 0),
            payload_len: (upper_len + more) as u16,
            next_header: if inner.is_fragment() { protocol::FRAGMENT } else { upper_layer },
            hop_limit: inner.ttl,
            source: source.ipv6,
            destination: destination.ipv6,
        };
        let mut headers: Vec<u8> = head.words().iter().flat_map(|word| word.to_be_bytes()).collect();
        if inner.is_fragment() {
            headers.extend(fragment_header(upper_layer, inner.fragment, inner.identification).to_be_bytes());
        }
        let mut new = parts;
        if !is_unused && parts.has_attribute {
            new = Parts { original: quoted, extension: 0, has_attribute: false };
        }
        new.original = new.original - inner.header_len as u32 + headers.len() as u32;
        let layout = extension::layout(new, UNIT6, MINIMUM_MTU - HEADER_LEN - icmp::HEADER_LEN);
        let delta = if inner.protocol == protocol::ICMP {
            pseudo_header6(source.ipv6, destination.ipv6, upper_len as u32, protocol::ICMPV6)
        } else {
            checksum::four_to_six(inner.source, inner.destination, source.ipv6, destination.ipv6)
        };
        let inner_total = inner.total_len as u32;
        let inner = Inner {
            headers,
            rest: payload[inner.header_len..parts.original as usize].to_vec(),
            layout,
            extension: payload[parts.original as usize..].to_vec(),
        };
        self.step("inner packet", INNER4, "", "the packet in error is translated too");
        Ok(((inner.bytes(number, kind, available, delta), layout), inner_total))
    }

    fn no_inner<T>(&mut self, source: &str, why: &str) -> Decided<T> {
        self.drop(DropReason::InnerPacket, source, "", format!("the packet in error cannot be translated: {why}"))
    }

    /// Deny lists and the well-known prefix's rule hold for the packet in error, illegal ranges do not.
    fn inner_flags(&mut self, source: &Mapped, destination: &Mapped, section: &str) -> Decided<()> {
        if !source.is_mapped() || !destination.is_mapped() {
            return self.no_inner(section, "an address maps to nothing");
        }
        if source.flags & flag::DENIED != 0 {
            return self.drop(DropReason::DeniedSource, section, "[deny]", "the inner source is in the deny list");
        }
        if destination.flags & flag::DENIED != 0 {
            return self.drop(
                DropReason::DeniedDestination,
                section,
                "[deny]",
                "the inner destination is in the deny list",
            );
        }
        if (source.flags | destination.flags) & flag::NON_GLOBAL != 0 {
            let by = "well_known_prefix_strict = true";
            return self.drop(DropReason::WellKnownPrefix, "RFC 6052 3.1", by, "an inner address is not global");
        }
        Ok(())
    }

    /// The new type of an inner ICMP message, where there is a type to be seen.
    fn inner_icmp(&mut self, number: u8, rest: &[u8], available: usize, section: &str) -> Decided<Option<u8>> {
        if !matches!(number, protocol::ICMP | protocol::ICMPV6) {
            return Ok(None);
        }
        let Some(kind) = u8_at(rest, 0).filter(|_| available > 0) else { return Ok(Some(0)) };
        let (is_error, translated) = if number == protocol::ICMP {
            (icmp::is_error4(kind), icmp::echo_to_six(kind))
        } else {
            (icmp::is_error6(kind), icmp::echo_to_four(kind))
        };
        if is_error {
            return self.drop(DropReason::InnerIcmpError, section, "", "the packet in error is an ICMP error itself");
        }
        match translated {
            Some(kind) => Ok(Some(kind)),
            None => self.no_inner(section, "an ICMP type that is not translated"),
        }
    }

    /// An ICMPv6 message that is no echo.
    pub(super) fn error_to_four(
        &mut self,
        packet: &[u8],
        header: &Header6,
        source: &Mapped,
        destination: &Mapped,
    ) -> Decided<Expected> {
        let end = header.end().min(packet.len());
        let through = Chain::follow(packet, header.next_header, header.end(), true);
        let chain = self.check_chain(through)?;
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
        let message = &packet[at..end];
        let (kind, code, word) = (message[0], message[1], u32_at(message, 4).unwrap_or(0));
        let error = self.translated_type(icmp::error_to_four(kind, code, word), (kind, code), TYPES6)?;
        let Some((from, to)) = inner else { return self.no_inner(INNER6, "it is shorter than an IPv6 header") };
        let (bytes, layout, has_fragment) = self.inner4(message, word, &from, &to)?;
        let hairpinned = from.flags & flag::HAIRPIN != 0 && self.settings.hairpin == hairpin::INTRINSIC;
        let way = (self.route)(Ipv4Addr::from(destination.ipv4).into());
        if !hairpinned {
            self.step("route", "translation.md 11", "", way.text.clone());
        }
        let from = self.outer_source4(header, source, if hairpinned { self.arrival.ifindex } else { way.ifindex })?;
        let attribute = layout.attribute(UNIT4) & 0xff;
        let second_word = match error.rest {
            Rest::Unused => (word >> 16 & 0xff) << 24 | attribute << 16 | word & 0xffff,
            Rest::Pointer(pointer) => u32::from(pointer) << 24 | attribute << 16,
            Rest::Zero => attribute << 16,
            Rest::Mtu => {
                let way_mtu = if hairpinned { u32::MAX } else { way.mtu };
                let mtu = icmp::mtu_to_four(word, has_fragment, way_mtu, self.arrival.mtu);
                self.step("mtu", TYPES6, "", format!("the MTU {word} becomes {mtu}"));
                attribute << 16 | mtu & 0xffff
            }
        };
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
        let message_was_right = sums_up(sum(message).add(pseudo_header));
        let mut out: Vec<u8> = out.words().iter().flat_map(|word| word.to_be_bytes()).collect();
        out.extend(icmp_message(&error, second_word, &bytes, Sum::ZERO));
        if hairpinned {
            self.step(
                "hairpin",
                "RFC 7757 4.2.2",
                "hairpin = \"intrinsic\"",
                "the packet in error was hairpinned: back to IPv6 at once",
            );
            return match self.four_to_six(&out, true) {
                Outcome::Translated(expected) => Ok(Expected { checksum: message_was_right, ..expected }),
                Outcome::Passed => Err(Outcome::Dropped(DropReason::Internal, None)),
                other => Err(other),
            };
        }
        let informed = !source.is_mapped() && self.settings.interface_info != 0;
        if informed {
            let text = "an Interface Information Object with the true source is appended, where it fits";
            self.step("interface information", "RFC 6791 4, RFC 5837", "interface_info = true", text);
        }
        // What is appended changes the lengths and the checksum: the addresses are foretold.
        let foretold = if informed { 0 } else { out.len() };
        Ok(Expected {
            foretold,
            packet: out,
            any_identification: chain.fragment.is_none(),
            checksum: message_was_right,
        })
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
        let available = if chain.piece() == Piece::Later { 0 } else { original - chain.offset };
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

/// An ICMP message with its checksum.
fn icmp_message(error: &icmp::Error, second_word: u32, rest: &[u8], pseudo_header: Sum) -> Vec<u8> {
    let mut message = vec![error.kind, error.code, 0, 0];
    message.extend(second_word.to_be_bytes());
    message.extend(rest);
    let checksum = sum(&message).add(pseudo_header).checksum();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message
}

/// What an answer says.
pub(super) fn answer_text(answer: Answer, is_ipv4: bool) -> String {
    let family = if is_ipv4 { "ICMP" } else { "ICMPv6" };
    format!("{family} type {} code {}", answer.kind, answer.code)
}
