//! What ICMP errors of both families have in common: the type, and the packet in error (RFC 7915 4.2, 4.3, 5.2, 5.3;
//! docs/translation.md 8).

use xlat_common::{
    checksum::{self, Sum},
    extension::Layout,
    icmp,
    ipv4::protocol,
    reason::DropReason,
};

use super::{
    address::{Mapped, flag},
    book::{Answer, Book, Decided, sum},
    four_to_six::adjust_transport,
    headers::{u8_at, u16_at},
};

pub(super) const ICMP_LEN: usize = icmp::HEADER_LEN as usize;

/// A message after its ICMP header, in the other family: the inner headers to come, and what follows them.
pub(super) struct Inner {
    pub(super) headers: Vec<u8>,
    /// The inner packet after its headers.
    pub(super) rest: Vec<u8>,
    pub(super) layout: Layout,
    /// The extension structure, as received.
    pub(super) extension: Vec<u8>,
}

impl Inner {
    /// The bytes after the ICMP header. `number` is the inner protocol before translation, 255 where nothing is to be adjusted;
    /// `available`: bytes there are of the inner transport.
    pub(super) fn bytes(&self, number: u8, kind: Option<u8>, available: usize, delta: Sum) -> Vec<u8> {
        let kept = (self.layout.original as usize).saturating_sub(self.headers.len()).min(self.rest.len());
        let mut rest = self.rest[..kept].to_vec();
        let available = available.min(kept);
        match kind {
            Some(kind) if available > 0 => {
                let change = Sum::ZERO.add16(u16::from(kind) << 8).sub(Sum::ZERO.add16(u16::from(rest[0]) << 8));
                rest[0] = kind;
                if available >= 4 {
                    let old = u16_at(&rest, 2).unwrap_or(0);
                    // An ICMPv4 Echo Reply may be zeros all over, whose sum is right with ones only.
                    let update = if kind == icmp::v4::ECHO_REPLY { checksum::update_udp } else { checksum::update };
                    rest[2..4].copy_from_slice(&update(old, delta.add(change)).to_be_bytes());
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
    /// What a type and code become, or why not.
    pub(super) fn translated_type(
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

    pub(super) fn no_inner<T>(&mut self, source: &str, why: &str) -> Decided<T> {
        self.drop(DropReason::InnerPacket, source, "", format!("the packet in error cannot be translated: {why}"))
    }

    /// Deny lists and the well-known prefix's rule hold for the packet in error, illegal ranges do not.
    pub(super) fn inner_flags(&mut self, source: &Mapped, destination: &Mapped, section: &str) -> Decided<()> {
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
    pub(super) fn inner_icmp(
        &mut self,
        number: u8,
        rest: &[u8],
        available: usize,
        section: &str,
    ) -> Decided<Option<u8>> {
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
}

/// An ICMP message with its checksum.
pub(super) fn icmp_message(error: &icmp::Error, second_word: u32, rest: &[u8], pseudo_header: Sum) -> Vec<u8> {
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
