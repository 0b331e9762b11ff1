//! ICMPv4 errors to ICMPv6 (RFC 7915 4.2, 4.3).

use std::net::Ipv6Addr;

use xlat_common::{
    address::Ipv6,
    checksum::{self, pseudo_header6},
    extension::{self, Layout, Parts, UNIT4, UNIT6},
    icmp::{self, Rest},
    ipv4::protocol,
    ipv6::{self, FRAGMENT_HEADER_LEN, HEADER_LEN, MINIMUM_MTU, fragment_header, next_header_of},
    reason::DropReason,
    settings::hairpin,
};

use super::{
    address::{Mapped, flag},
    book::{Book, Decided, Expected, sum, sums_up},
    four_to_six::{PROHIBITED4, is_own_affair4},
    headers::{Header4, Piece, u32_at},
    icmp_error::{ICMP_LEN, Inner, icmp_message},
};

const TYPES4: &str = "RFC 7915 4.2";
const INNER4: &str = "RFC 7915 4.3";

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
        let arrival_mtu = if second { u32::MAX } else { self.arrival.mtu };
        let second_word = self.second_word6(error.rest, word, &bytes.1, inner_total, (way.mtu, arrival_mtu));
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

    /// What follows the checksum of the ICMPv6 error. `mtus`: of the way out, and of the way that the message came by.
    fn second_word6(&mut self, rest: Rest, word: u32, layout: &Layout, inner_total: u32, mtus: (u32, u32)) -> u32 {
        match rest {
            Rest::Unused => layout.attribute(UNIT6) << 24 | (word >> 24) << 16 | word & 0xffff,
            Rest::Pointer(pointer) => pointer.into(),
            Rest::Zero => 0,
            Rest::Mtu => {
                let told = match word & 0xffff {
                    0 => icmp::plateau(self.settings.plateaus.iter().copied(), inner_total),
                    mtu => mtu,
                };
                let mtu = icmp::mtu_to_six(told, mtus.0, mtus.1);
                self.step("mtu", TYPES4, "", format!("the MTU {} becomes {mtu}", word & 0xffff));
                mtu
            }
        }
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
        // What follows the inner packet's end is padding.
        let within = (parts.original as usize).min(inner.total_len);
        let available = if inner.piece() == Piece::Later { 0 } else { within - inner.header_len };
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
}
