//! IPv6 to IPv4 (RFC 7915 section 5), all but ICMPv6 errors.

use std::net::Ipv4Addr;

use xlat_common::{
    checksum::{self, Sum, pseudo_header6},
    icmp,
    ipv4::{self, fragment_by_size, protocol},
    ipv6::{MINIMUM_MTU, ipv4_fragment, protocol_of},
    reason::DropReason,
    settings::{dscp, hairpin},
};

use super::{
    address::{Mapped, flag},
    book::{Answer, Book, Decided, Expected, Outcome},
    four_to_six::{adjust_echo, adjust_transport, mtu_text, transport_text},
    headers::{Broken, Chain, Header6, Piece, u8_at, u16_at},
};

/// The answer where no other is named (RFC 7915 5.4).
pub(super) const PROHIBITED6: Answer =
    Answer { kind: icmp::v6::DESTINATION_UNREACHABLE, code: icmp::v6::ADMINISTRATIVELY_PROHIBITED, rest: 0 };

impl Book<'_> {
    /// What becomes of an IPv6 packet.
    pub(super) fn six_to_four(&mut self, packet: &[u8]) -> Outcome {
        let Some(header) = Header6::read(packet) else {
            let text = "shorter than an IPv6 header: the kernel gets it untouched";
            return self.pass::<()>("translation.md 2", "", text).expect_err("it passes");
        };
        self.translate6(packet, &header).map_or_else(|outcome| outcome, Outcome::Translated)
    }

    fn translate6(&mut self, packet: &[u8], header: &Header6) -> Decided<Expected> {
        let (source, destination) = (self.map6(header.source), self.map6(header.destination));
        self.own6(&source, &destination)?;
        self.note6("source", &source);
        self.note6("destination", &destination);
        let own_affair = is_own_affair6(header);
        if !destination.is_mapped() {
            return self.out_of_scope(own_affair, "the destination maps to nothing");
        }
        let chain = Chain::follow(packet, header.next_header, header.end(), false);
        if !source.is_mapped() {
            let through = Chain::follow(packet, header.next_header, header.end(), true);
            let may_be_icmp = through.is_ok_and(|c| c.upper_layer == protocol::ICMPV6 && c.piece() != Piece::Later);
            if may_be_icmp {
                return self.error_to_four(packet, header, &source, &destination);
            }
            if source.flags & flag::ILLEGAL != 0 {
                let text = format!("no packet for the translator may come from {}", source.ipv6_text());
                return self.drop(DropReason::IllegalSource, "RFC 7915 5.1", "", text);
            }
            return self.out_of_scope(own_affair, "the source maps to nothing");
        }
        self.scope6(own_affair, (source.flags | destination.flags) & flag::EAM != 0)?;
        self.check_header6(packet, header)?;
        if let Ok(chain) = chain
            && chain.upper_layer == protocol::ICMPV6
            && chain.piece() == Piece::Whole
            && header.end() >= chain.offset + icmp::HEADER_LEN as usize
            && u8_at(packet, chain.offset).is_some_and(|kind| icmp::echo_to_four(kind).is_none())
        {
            return self.error_to_four(packet, header, &source, &destination);
        }
        self.refuse_addresses((source.flags, &source), (destination.flags, &destination), PROHIBITED6)?;
        let chain = self.check_chain(chain)?;
        self.check_hop_limit(header)?;
        let hairpinned = destination.flags & flag::HAIRPIN != 0
            && self.settings.hairpin == hairpin::INTRINSIC
            && chain.upper_layer != protocol::ICMP;
        let mut payload = packet[chain.offset..header.end()].to_vec();
        self.transport6(&chain, &payload)?;
        let total_len = payload.len() + ipv4::HEADER_LEN as usize;
        if total_len > 0xffff {
            let text = "longer than an IPv4 packet can be";
            return self.drop(DropReason::MalformedHeader, "RFC 791 3.1", "", text);
        }
        let built = self.header4(header, &chain, total_len, &source, &destination);
        if !hairpinned {
            self.fit4(&built)?;
        }
        adjust6(&chain, header, &built, &mut payload);
        self.step("checksum", "RFC 7915 5.5; RFC 1624", "", transport_text(chain.upper_layer, chain.piece()));
        let mut bytes: Vec<u8> = built.words().iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.extend(payload);
        if hairpinned {
            return self.hairpin(header, &built, &bytes);
        }
        let any_identification = chain.fragment.is_none();
        Ok(Expected { foretold: bytes.len(), packet: bytes, any_identification, checksum: true })
    }

    /// The relay's own addresses are never translated.
    fn own6(&mut self, source: &Mapped, destination: &Mapped) -> Decided<()> {
        let by_itself = destination.is_mapped() && source.flags & flag::OWN != 0 && !source.is_mapped();
        if destination.flags & flag::OWN != 0 && !by_itself {
            let text = format!(
                "{} is, or maps to, the relay's own address: the kernel gets the packet",
                destination.ipv6_text()
            );
            return self.pass("translation.md 3", "", text);
        }
        if (source.flags & flag::OWN != 0 && destination.is_mapped()) || by_itself {
            let text = format!("the source {} is, or maps to, the relay's own address", source.ipv6_text());
            return self.out_of_scope(false, text);
        }
        Ok(())
    }

    pub(super) fn scope6(&mut self, own_affair: bool, by_eam: bool) -> Decided<()> {
        if !by_eam && self.settings.scope_all == 0 {
            let text = format!("neither address matches an EAM ({})", self.scope());
            return self.out_of_scope(own_affair, text);
        }
        let by = self.scope();
        let text = if by_eam { "an EAM matches: the packet is translated" } else { "the prefix maps both addresses" };
        self.step("scope", "RFC 7755 3.2", by, text);
        Ok(())
    }

    pub(super) fn check_header6(&mut self, packet: &[u8], header: &Header6) -> Decided<()> {
        if header.version != 6 || header.end() > packet.len() {
            let text = format!(
                "version {}, Payload Length {}, but {} bytes there are after the header",
                header.version,
                header.payload_len,
                packet.len() - 40
            );
            return self.drop(DropReason::MalformedHeader, "RFC 8200 3", "", text);
        }
        self.step("header", "RFC 8200 3", "", "the IPv6 header can be read");
        Ok(())
    }

    pub(super) fn check_chain(&mut self, chain: Result<Chain, Broken>) -> Decided<Chain> {
        let chain = self.unbroken(chain)?;
        if chain.offset > 40 {
            let text = format!("{} bytes of extension headers are left out", chain.offset - 40);
            self.step("extension headers", "RFC 7915 5.1", "", text);
        }
        Ok(chain)
    }

    /// As [`Book::check_chain`], without a step of its own where all is well.
    pub(super) fn unbroken(&mut self, chain: Result<Chain, Broken>) -> Decided<Chain> {
        match chain {
            Ok(chain) => Ok(chain),
            Err(Broken::Segments(pointer)) => {
                let answer = Answer { kind: icmp::v6::PARAMETER_PROBLEM, code: 0, rest: pointer };
                self.refuse(
                    DropReason::RoutingHeader,
                    answer,
                    "RFC 7915 5.1",
                    "",
                    "a routing header with segments left",
                )
            }
            Err(Broken::AfterFragment) => {
                let text = "an extension header follows the Fragment Header";
                self.refuse(DropReason::FragmentExtension, PROHIBITED6, "RFC 7915 5.1.1", "", text)
            }
            Err(Broken::Reason(reason)) => {
                self.drop(reason, "translation.md 2", "", "the chain of extension headers cannot be followed")
            }
        }
    }

    pub(super) fn check_hop_limit(&mut self, header: &Header6) -> Decided<()> {
        if header.hop_limit <= 1 {
            let answer = Answer { kind: icmp::v6::TIME_EXCEEDED, code: 0, rest: 0 };
            let text = format!("hop limit {} is used up here", header.hop_limit);
            return self.refuse(DropReason::HopLimitExceeded, answer, "RFC 7915 5.1", "", text);
        }
        let text = format!("hop limit {} becomes TTL {}", header.hop_limit, header.hop_limit - 1);
        self.step("hop limit", "RFC 7915 5.1", "", text);
        Ok(())
    }

    fn transport6(&mut self, chain: &Chain, payload: &[u8]) -> Decided<()> {
        if chain.upper_layer != protocol::ICMPV6 {
            return self.check_transport(chain.upper_layer, chain.piece(), payload, "RFC 7915 5.5");
        }
        if chain.piece() != Piece::Whole {
            return self.drop(DropReason::IcmpFragment, "RFC 7915 1.2", "", "a fragment of an ICMPv6 message");
        }
        if payload.len() < icmp::HEADER_LEN as usize {
            return self.drop(DropReason::MalformedTransport, "RFC 7915 5.5", "", "shorter than an ICMPv6 header");
        }
        Ok(())
    }

    pub(super) fn tos(&self, traffic_class: u8) -> u8 {
        if self.settings.tos_mode == dscp::FIXED { self.settings.tos as u8 } else { traffic_class }
    }

    /// RFC 7915 5.1 and 5.1.1, with one taken from the hop limit.
    fn header4(
        &mut self,
        header: &Header6,
        chain: &Chain,
        total_len: usize,
        source: &Mapped,
        destination: &Mapped,
    ) -> ipv4::Header {
        let (identification, fragment) = match chain.fragment {
            Some((word, identification)) => {
                let text = "the Fragment Header's offset, M and Identification go into the IPv4 header, DF clear";
                self.step("fragment", "RFC 7915 5.1.1", "", text);
                (identification as u16, ipv4_fragment(word))
            }
            None => {
                let fragment = fragment_by_size(total_len as u32);
                let text = if fragment == 0 {
                    "DF clear, as it has no more than 1260 bytes"
                } else {
                    "DF set, as it has over 1260 bytes"
                };
                self.step("identification", "RFC 7915 5.1", "", format!("Identification from a generator; {text}"));
                (0, fragment)
            }
        };
        ipv4::Header {
            tos: self.tos(header.traffic_class),
            total_len: total_len as u16,
            identification,
            fragment,
            ttl: header.hop_limit.wrapping_sub(1),
            protocol: protocol_of(chain.upper_layer),
            source: source.ipv4,
            destination: destination.ipv4,
        }
    }

    /// The way out and the MTU rule (docs/translation.md 7.5).
    fn fit4(&mut self, built: &ipv4::Header) -> Decided<()> {
        let way = (self.route)(Ipv4Addr::from(built.destination).into());
        self.step("route", "translation.md 11", "", way.text.clone());
        let total_len = u32::from(built.total_len);
        if total_len <= way.mtu {
            self.step("mtu", "RFC 7915 5.1", "", format!("{total_len} bytes fit {}", mtu_text(way.mtu)));
            return Ok(());
        }
        if built.fragment & ipv4::DF == 0 {
            let text = format!(
                "{total_len} bytes do not fit {}, and DF is clear: the kernel fragments them",
                mtu_text(way.mtu)
            );
            self.step("mtu", "RFC 7915 5.1", "", text);
            return Ok(());
        }
        let text = format!("{total_len} bytes, translated, do not fit {}, and DF is set", mtu_text(way.mtu));
        self.too_big(way.mtu.saturating_add(20), text)
    }

    fn too_big<T>(&mut self, mtu: u32, text: String) -> Decided<T> {
        let told = mtu.max(MINIMUM_MTU);
        let answer = Answer { kind: icmp::v6::PACKET_TOO_BIG, code: 0, rest: told };
        self.refuse(
            DropReason::PacketTooBig,
            answer,
            "RFC 7915 5.1, RFC 8201",
            "",
            format!("{text}; the sender is told {told}"),
        )
    }

    /// RFC 7757 4.2.2: what has become IPv4 goes back to IPv6 at once.
    fn hairpin(&mut self, header: &Header6, built: &ipv4::Header, bytes: &[u8]) -> Decided<Expected> {
        let text = format!("{} is a service's address: back to IPv6 at once", Ipv4Addr::from(built.destination));
        self.step("hairpin", "RFC 7757 4.2.2", "hairpin = \"intrinsic\"", text);
        let (source, destination) = self.both4(built.source, built.destination, (true, false));
        if (source.flags | destination.flags) & flag::OWN != 0 {
            return self.pass_own();
        }
        self.refuse_addresses((source.flags, &source), (destination.flags, &destination), PROHIBITED6)?;
        let way = (self.route)(std::net::Ipv6Addr::from(destination.ipv6).into());
        let is_fragment = built.fragment & (ipv4::MF | ipv4::OFFSET_MASK) != 0;
        let total_len = u32::from(built.total_len) + if is_fragment { 28 } else { 20 };
        let keeps_none = self.settings.udp_zero_checksum_compute == 0 || is_fragment;
        let has_no_checksum = built.fragment & ipv4::OFFSET_MASK == 0 && u16_at(bytes, 26) == Some(0);
        let dies_there =
            built.protocol == protocol::IGMP || built.protocol == protocol::UDP && keeps_none && has_no_checksum;
        if total_len > way.mtu && !dies_there {
            let text = format!("{total_len} bytes do not fit {} of the way back", mtu_text(way.mtu));
            return self.too_big(way.mtu, text);
        }
        // The first pass has taken one from the hop limit, the second takes none.
        let mut bytes = bytes.to_vec();
        let ttl = header.hop_limit;
        let whole = ipv4::Header { ttl, ..*built };
        for (place, word) in bytes.chunks_mut(4).zip(whole.words()) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        match self.four_to_six(&bytes, true) {
            Outcome::Translated(expected) => Ok(expected),
            other => Err(other),
        }
    }
}

/// What of destinations in no scope is the machine's own affair: multicast, link-local.
pub(super) fn is_own_affair6(header: &Header6) -> bool {
    header.destination.is_multicast() || header.destination.is_link_local()
}

fn adjust6(chain: &Chain, header: &Header6, built: &ipv4::Header, payload: &mut [u8]) {
    if chain.upper_layer == protocol::ICMPV6 {
        let gone = pseudo_header6(header.source, header.destination, payload.len() as u32, protocol::ICMPV6);
        if let Some(kind) = icmp::echo_to_four(payload[0]) {
            adjust_echo(payload, kind, Sum::ZERO.sub(gone));
        }
        return;
    }
    if chain.piece() != Piece::Later {
        let delta = checksum::six_to_four(header.source, header.destination, built.source, built.destination);
        adjust_transport(chain.upper_layer, payload, delta);
    }
}
