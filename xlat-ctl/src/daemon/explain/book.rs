//! The rule book over the tables of the relay, in user space: the decisions about one packet, in the order of
//! docs/translation.md, each with its rule, its section and what made it. The arithmetic is `xlat-common`'s, as in the program.

use std::net::IpAddr;

use xlat_common::{reason::DropReason, settings::Settings};

use crate::{api::Step, daemon::lookup::Rules, dataplane::Known};

/// What is to become of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The kernel gets it as it came.
    Passed,
    /// Dropped; the sender may be told.
    Dropped(DropReason, Option<Answer>),
    /// Given to the fragmenter.
    Fragmented,
    /// Translated.
    Translated(Expected),
}

/// The ICMP error that a sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) kind: u8,
    pub(super) code: u8,
    /// Pointer or MTU, as they stand in the second word of the header.
    pub(super) rest: u32,
}

/// A translated packet, as far as the rules foretell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// From the IP header on, with one taken from the hop limit.
    pub(super) packet: Vec<u8>,
    /// Whether the IPv4 Identification comes from a generator, and may be any.
    pub(super) any_identification: bool,
    /// How many bytes from the start are foretold.
    pub(super) foretold: usize,
    /// Whether the ICMP checksum is foretold: not that of an error whose own was wrong.
    pub(super) checksum: bool,
}

/// A decision that ends the way of a packet.
pub(super) type Decided<T> = Result<T, Outcome>;

/// How the packet arrived.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) ifindex: u32,
    /// Index of the interface's translation prefix.
    pub(super) prefix: u8,
    /// Bytes.
    pub(super) mtu: u32,
}

/// The way out, as the routing table says.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// Index of the interface; 0: there is none, the kernel decides.
    pub(super) ifindex: u32,
    /// Bytes; `u32::MAX` where the kernel is to find out.
    pub(super) mtu: u32,
    /// In words.
    pub(super) text: String,
}

/// What the rules look at.
pub(super) struct Book<'relay> {
    pub(super) settings: &'relay Settings,
    pub(super) rules: Rules<'relay>,
    pub(super) arrival: Arrival,
    /// The program's own tables.
    pub(super) table: &'relay dyn Fn(IpAddr) -> Known,
    pub(super) route: &'relay dyn Fn(IpAddr) -> Way,
    /// The source of an ICMPv4 error that leaves by an interface; 0: there is none.
    pub(super) own_ipv4: &'relay dyn Fn(u32) -> u32,
    pub(super) steps: Vec<Step>,
}

impl Book<'_> {
    /// Notes a decision. `rule` is a word for it, `source` the RFC's section, `by` the entry or setting that made it.
    pub(super) fn step(&mut self, rule: &str, source: &str, by: &str, text: impl Into<String>) {
        let by = (!by.is_empty()).then(|| by.to_owned());
        self.steps.push(Step { rule: rule.to_owned(), source: source.to_owned(), by, text: text.into() });
    }

    /// Notes a decision that drops the packet in silence.
    pub(super) fn drop<T>(
        &mut self,
        reason: DropReason,
        source: &str,
        by: &str,
        text: impl Into<String>,
    ) -> Decided<T> {
        self.step(reason.name(), source, by, text);
        Err(Outcome::Dropped(reason, None))
    }

    /// Notes a decision that drops the packet and tells the sender.
    pub(super) fn refuse<T>(
        &mut self,
        reason: DropReason,
        answer: Answer,
        source: &str,
        by: &str,
        text: impl Into<String>,
    ) -> Decided<T> {
        self.step(reason.name(), source, by, text);
        Err(Outcome::Dropped(reason, Some(answer)))
    }

    /// Notes that the kernel gets the packet as it came.
    pub(super) fn pass<T>(&mut self, source: &str, by: &str, text: impl Into<String>) -> Decided<T> {
        self.step("passed", source, by, text);
        Err(Outcome::Passed)
    }

    pub(super) fn pass_own<T>(&mut self) -> Decided<T> {
        self.pass("translation.md 3", "", "an address maps to one of the relay's own: the kernel gets the packet")
    }

    /// What becomes of a packet in no scope. `own_affair`: it is for multicast, broadcast or link-local addresses.
    pub(super) fn out_of_scope<T>(&mut self, own_affair: bool, text: impl Into<String>) -> Decided<T> {
        const SOURCE: &str = "RFC 7755 3.2; translation.md 3";
        let text = text.into();
        if self.settings.strict != 0 && !own_affair {
            return self.drop(DropReason::OutOfScope, SOURCE, "strict = true", text);
        }
        let by = if own_affair { "" } else { "strict = false" };
        self.pass(SOURCE, by, format!("{text}: the kernel gets the packet untouched"))
    }

    /// The `scope` setting, as it is written.
    pub(super) fn scope(&self) -> &'static str {
        if self.settings.scope_all != 0 { "scope = \"all\"" } else { "scope = \"eam\"" }
    }
}

/// Whether a checksum that covers all of these bytes is right.
pub(super) fn sums_up(sum: xlat_common::checksum::Sum) -> bool {
    sum.fold() == 0xffff
}

/// The sum of bytes that begin at an even place.
pub(super) fn sum(bytes: &[u8]) -> xlat_common::checksum::Sum {
    let words = bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    words.fold(xlat_common::checksum::Sum::ZERO, xlat_common::checksum::Sum::add16)
}
