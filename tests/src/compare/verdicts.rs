//! Which of the two is right where they differ: one entry for each kind of difference, the first that holds decides.

use super::{judge::Difference, view::View};

/// Who is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// xlat does what the RFC says, Jool does not.
    Xlat,
    /// Jool does what the RFC says, xlat does not.
    Jool,
    /// The RFCs allow either, or say nothing.
    Both,
}

/// One kind of difference.
#[derive(Debug)]
pub struct Verdict {
    /// What is special about the packets.
    pub packets: &'static str,
    /// Who is right.
    pub right: Right,
    /// The section that decides.
    pub section: &'static str,
    /// What it says, or why nothing decides.
    pub why: &'static str,
    /// Whether a difference is of this kind.
    pub holds: fn(&Difference) -> bool,
}

/// The place in [`VERDICTS`] of the verdict on a difference; `None`: there is none yet.
#[must_use]
pub fn place(difference: &Difference) -> Option<usize> {
    VERDICTS.iter().position(|verdict| (verdict.holds)(difference))
}

/// All of them.
pub static VERDICTS: &[Verdict] = &[
    Verdict {
        packets: "a kind of malformed IPv4 options",
        right: Right::Xlat,
        section: "RFC 7915 4.1",
        why: "options \"MUST be ignored\"; Jool 4.1.9 does not get on with them, and is not given such packets",
        holds: |of| of.jool == "hangs",
    },
    Verdict {
        packets: "a source route whose length is beyond the header",
        right: Right::Both,
        section: "RFC 7915 4.1",
        why: "neither translates. Jool takes it for an unexpired one (3/5), xlat for malformed (silent)",
        holds: |of| of.reason == "malformed_options" && of.did("drops", "answers 3/5"),
    },
    Verdict {
        packets: "a source route whose length is 0, 1 or missing",
        right: Right::Both,
        section: "RFC 7915 4.1",
        why: "whether it is expired cannot be told. xlat drops it, Jool takes it for none",
        holds: |of| of.reason == "malformed_options" && of.did("drops", "translates"),
    },
    Verdict {
        packets: "a source route behind an option whose length lies",
        right: Right::Both,
        section: "RFC 7915 4.1",
        why: "where the next option begins cannot be told. xlat ignores all that is left, Jool goes on searching",
        holds: |of| of.reason == "translated" && of.did("translates", "answers 3/5"),
    },
    Verdict {
        packets: "an expired source route followed by an unexpired one",
        right: Right::Xlat,
        section: "RFC 7915 4.1",
        why: "with an unexpired source route option the packet MUST be discarded; Jool looks at the first one only",
        holds: |of| of.reason == "source_route" && of.jool == "translates",
    },
    Verdict {
        packets: "0/8 and 240/4 as an address, other than 0.0.0.0 and 255.255.255.255",
        right: Right::Xlat,
        section: "RFC 1812 5.3.7",
        why: "a router \"SHOULD NOT forward\" from or to network 0 and class E",
        holds: |of| is_illegal(of) && of.did("drops", "translates"),
    },
    Verdict {
        packets: "0.0.0.0, 127/8, 169.254/16, multicast or broadcast as an address",
        right: Right::Xlat,
        section: "RFC 7915 4.1, 5.1",
        why: "an illegal source: \"SHOULD silently drop\". Jool leaves the packet to the kernel, which forwards it untranslated",
        holds: |of| is_illegal(of) && of.did("drops", "forwards as it is"),
    },
    Verdict {
        packets: "IGMP",
        right: Right::Xlat,
        section: "RFC 7915 4.2",
        why: "IGMP messages \"SHOULD be silently dropped\"; Jool translates them, and answers those of TTL 1",
        holds: |of| of.reason == "igmp" && of.xlat == "drops",
    },
    Verdict {
        packets: "a Fragment Header before AH, a Mobility, HIP or Shim6 header",
        right: Right::Xlat,
        section: "RFC 7915 5.1.1",
        why: "such a packet \"SHOULD be dropped and logged\"; Jool takes the header for a transport protocol",
        holds: |of| of.reason == "fragment_extension" && of.jool == "translates",
    },
    Verdict {
        packets: "a later fragment whose Fragment Header is before Hop-by-Hop Options, a Routing header or Destination Options",
        right: Right::Both,
        section: "RFC 7915 5.4",
        why: "both drop, and an ICMPv6 error 1/1 SHOULD be sent, but none about an ICMPv6 error (RFC 4443 2.4), of which this may be a piece: xlat is silent",
        holds: |of| of.reason == "fragment_extension" && of.did("drops", "answers 1/1"),
    },
    Verdict {
        packets: "a Fragment Header before another",
        right: Right::Xlat,
        section: "RFC 7915 5.4",
        why: "both drop, and an ICMPv6 error 1/1 SHOULD be sent, which Jool does for the other extension headers",
        holds: |of| of.reason == "fragment_extension" && of.did("answers 1/1", "drops"),
    },
    Verdict {
        packets: "UDP over IPv4 without checksum",
        right: Right::Both,
        section: "RFC 7915 4.5",
        why: "both drop by default; xlat raises the event that the section asks for and is silent, Jool answers 3/13, which 4.4 asks for where nothing else is specified",
        holds: |of| of.reason.starts_with("udp_checksum_zero") && of.did("drops", "answers 3/13"),
    },
    Verdict {
        packets: "an ICMP error about an ICMP error",
        right: Right::Xlat,
        section: "RFC 7915 4.3, 5.3",
        why: "translation MUST stop at the first embedded header \"and drop the packet if it contains more\"",
        holds: |of| of.reason == "inner_icmp_error" && of.did("drops", "translates"),
    },
    Verdict {
        packets: "an ICMP error about a packet of which an address does not map",
        right: Right::Both,
        section: "RFC 7915 5.3",
        why: "it cannot be translated. Jool leaves it to the kernel, which forwards it towards the translation prefix; xlat drops it (`inner_packet`)",
        holds: |of| of.reason == "inner_packet" && of.did("drops", "forwards as it is"),
    },
    Verdict {
        packets: "a whole DCCP or UDP-Lite packet shorter than its header",
        right: Right::Both,
        section: "RFC 7915 4.5, 5.5",
        why: "supporting these protocols is OPTIONAL; to Jool they are unknown ones",
        holds: |of| of.reason == "malformed_transport" && of.jool == "translates" && is_unknown_to_jool(of.view()),
    },
    Verdict {
        packets: "checksums of DCCP and UDP-Lite",
        right: Right::Both,
        section: "RFC 7915 4.5, 5.5",
        why: "supporting these protocols is OPTIONAL. xlat adjusts the checksum, so that they work; with Jool they fail at the receiver",
        holds: |of| {
            (of.only(&["payload"]) && is_unknown_to_jool(of.view()))
                || (of.only(&["inner payload"]) && is_unknown_to_jool(of.view().and_then(|view| view.inner())))
        },
    },
    Verdict {
        packets: "a UDP checksum that becomes 0",
        right: Right::Xlat,
        section: "RFC 768; RFC 8200 8.1",
        why: "a computed zero is \"transmitted as all ones\"; what Jool sends the receiver drops over IPv6",
        holds: |of| of.only(&["payload"]) && of.has_udp_checksums("ffff", "0000"),
    },
    Verdict {
        packets: "UDP over IPv6 without checksum",
        right: Right::Both,
        section: "RFC 7915 5.5",
        why: "silent about it. xlat leaves it without, which IPv4 allows; Jool computes one",
        holds: |of| {
            of.only(&["payload"])
                && of
                    .view()
                    .is_some_and(|view| view.is_ipv6 && view.protocol == 17 && view.payload.get(6..8) == Some(&[0, 0]))
        },
    },
    Verdict {
        packets: "an ICMP error that quotes 8 to 19 bytes of TCP",
        right: Right::Xlat,
        section: "RFC 792; RFC 7915 4.2, 5.2",
        why: "an error quotes \"the first 64 bits\" of the data, and the included header MUST be translated; Jool drops it",
        holds: |of| of.did("translates", "drops") && inner_len(of, 6).is_some_and(|len| (8..20).contains(&len)),
    },
    Verdict {
        packets: "an ICMP error that quotes less than 8 bytes of TCP, UDP or an echo",
        right: Right::Both,
        section: "RFC 792; RFC 1812 4.3.2.3",
        why: "nobody may quote so little; xlat translates what there is, Jool drops",
        holds: |of| {
            of.did("translates", "drops")
                && [1, 6, 17, 58].iter().any(|&protocol| inner_len(of, protocol).is_some_and(|len| len < 8))
        },
    },
    Verdict {
        packets: "an ICMPv6 error about a later fragment",
        right: Right::Xlat,
        section: "RFC 7915 5.2",
        why: "the included header MUST be translated; Jool drops the error",
        holds: |of| {
            of.did("translates", "drops") && of.view().is_some_and(|view| view.is_ipv6) && is_about_later_fragment(of)
        },
    },
    Verdict {
        packets: "an ICMPv4 error about a later fragment",
        right: Right::Both,
        section: "RFC 1812 4.3.2.7",
        why: "no router may send it; xlat translates it, Jool drops it",
        holds: |of| of.did("translates", "drops") && is_about_later_fragment(of),
    },
    Verdict {
        packets: "Protocol 58 in IPv4, ICMPv6's number",
        right: Right::Xlat,
        section: "RFC 7915 4.5",
        why: "translators \"MUST forward all transport protocols\"; Jool drops it",
        holds: |of| of.did("translates", "drops") && of.view().is_some_and(|view| !view.is_ipv6 && view.protocol == 58),
    },
    Verdict {
        packets: "an ICMP error about UDP without checksum",
        right: Right::Both,
        section: "RFC 7915 4.3, 5.3",
        why: "the packet in error is translated \"like a normal IP packet\", which may be dropped for that. xlat translates the error and leaves the quoted checksum at 0; Jool drops an ICMPv4 error and computes one in an ICMPv6 error",
        holds: |of| (of.did("translates", "drops") || of.only(&["inner payload"])) && is_about_udp_without_checksum(of),
    },
    Verdict {
        packets: "an ICMP error with a wrong ICMP checksum",
        right: Right::Both,
        section: "RFC 7915 4.2, 5.2",
        why: "the checksum has to be updated; nothing says that it be verified. xlat leaves it as wrong as it came, Jool drops",
        holds: |of| {
            let is_wrong = of.view().is_some_and(|view| view.is_error() && !view.icmp_checksum_is_right());
            of.xlat.starts_with("translates") && of.jool == "drops" && is_wrong
        },
    },
    Verdict {
        packets: "a first fragment of UDP over IPv6 without checksum, from one mapped host to another (hairpin)",
        right: Right::Xlat,
        section: "RFC 7915 4.5",
        why: "a stateless translator cannot compute the checksum and SHOULD drop the packet; Jool sends it on in pieces",
        holds: |of| of.reason == "udp_checksum_zero_fragment" && of.xlat == "drops" && of.jool.starts_with("sends"),
    },
    Verdict {
        packets: "a length attribute (RFC 4884) beyond the message",
        right: Right::Both,
        section: "RFC 4884 3",
        why: "the message is malformed. xlat takes it for one without extension, Jool drops it",
        holds: |of| of.did("translates", "drops") && has_wrong_length_attribute(of.view()),
    },
    Verdict {
        packets: "a first fragment without the whole transport header",
        right: Right::Both,
        section: "RFC 8200 4.5",
        why: "over IPv6 the receiver has to judge, and RFC 791 knows no such rule; xlat translates, Jool drops",
        holds: |of| {
            of.did("translates", "drops")
                && of.view().is_some_and(|view| view.is_fragment && view.offset == 0 && is_short(&view))
        },
    },
    Verdict {
        packets: "the ICMP checksum of a quoted, cut echo",
        right: Right::Xlat,
        section: "RFC 8200 8.1",
        why: "the pseudo-header has the length of the whole packet, as the quoted header gives it; Jool takes that of the quotation",
        holds: |of| of.only(&["inner ICMP checksum"]),
    },
    Verdict {
        packets: "an IPv6 packet of at most 1280 bytes that does not fit the IPv4 way out",
        right: Right::Xlat,
        section: "RFC 7915 5.1.1",
        why: "\"the translator MUST perform IPv4 fragmentation on that packet\"; Jool answers Packet Too Big with an MTU of 1280, which the sender has kept already: such a path is a black hole",
        holds: |of| of.xlat.starts_with("sends") && of.jool == "answers 2/0" && of.case.packet.len() <= 1280,
    },
    Verdict {
        packets: "an IPv6 fragment of more than 1280 bytes that does not fit the IPv4 way out",
        right: Right::Xlat,
        section: "RFC 7915 5.1.1",
        why: "DF is cleared, \"allowing this packet to be further fragmented\"; Jool answers Packet Too Big",
        holds: |of| {
            of.xlat.starts_with("sends") && of.jool == "answers 2/0" && of.view().is_some_and(|view| view.is_fragment)
        },
    },
    Verdict {
        packets: "an IPv6 packet of several thousand bytes that does not fit the IPv4 way out",
        right: Right::Xlat,
        section: "RFC 8201 4; RFC 4443 3.2",
        why: "Packet Too Big goes to the source; with Jool the kernel sends an ICMPv4 error to the source's IPv4 address, which leaves untranslated",
        holds: |of| of.did("answers 2/0", "translates") && of.reason == "packet_too_big",
    },
    Verdict {
        packets: "no route for the translated packet",
        right: Right::Xlat,
        section: "RFC 1812 5.2.7.1; RFC 4443 3.1",
        why: "a router answers Destination Unreachable; Jool leaves the packet to the kernel, which forwards it untranslated",
        holds: |of| of.reason == "translated" && of.jool == "forwards as it is" && of.is_named("no_route"),
    },
    Verdict {
        packets: "an IPv6 packet whose traffic class has its last bit set: ECN's ECT(1) and CE",
        right: Right::Xlat,
        section: "RFC 7915 5.6",
        why: "the packet \"MUST be translated\". Jool finds no route for it (to Linux 6.1 that bit of a TOS asks for a destination on the link) and leaves it to the kernel, which forwards it untranslated",
        holds: |of| {
            let is_odd = of.view().is_some_and(|view| view.is_ipv6 && view.packet[1] & 0x10 != 0);
            is_odd && of.jool == "forwards as it is" && of.reason != "passed"
        },
    },
    Verdict {
        packets: "Next Header 1, ICMPv4's number",
        right: Right::Xlat,
        section: "RFC 7915 5.5",
        why: "translators \"MUST forward all transport protocols\"; Jool leaves it to the kernel, which forwards it untranslated",
        holds: |of| of.jool == "forwards as it is" && of.view().is_some_and(|view| view.is_ipv6 && view.protocol == 1),
    },
    Verdict {
        packets: "more than 32 extension headers",
        right: Right::Jool,
        section: "RFC 7915 5.1",
        why: "they \"MUST be ignored\", however many; xlat follows 32 (`extension_chain`)",
        holds: |of| of.reason == "extension_chain" && of.xlat == "drops",
    },
    Verdict {
        packets: "Protocol 0 in IPv4",
        right: Right::Jool,
        section: "RFC 7915 4.5",
        why: "translators \"MUST forward all transport protocols\". xlat translates it; where the kernel forwards for it, as here, that takes it for a Hop-by-Hop Options header that lies, and drops it",
        holds: |of| {
            of.did("drops", "translates")
                && of.reason == "translated"
                && of.view().is_some_and(|view| !view.is_ipv6 && view.protocol == 0)
        },
    },
    Verdict {
        packets: "an ICMPv4 error about a packet from or to a multicast, loopback, link-local or unspecified address",
        right: Right::Both,
        section: "RFC 1812 4.3.2.7",
        why: "nobody may send it. xlat translates it; Jool leaves it to the kernel, which forwards it untranslated",
        holds: |of| of.did("translates", "forwards as it is") && is_about_illegal_address(of),
    },
    Verdict {
        packets: "Segments Left not 0 behind a long extension header",
        right: Right::Xlat,
        section: "RFC 7915 5.1",
        why: "Parameter Problem 4/0 \"SHOULD be returned\"; Jool is silent",
        holds: |of| of.reason == "routing_header" && of.did("answers 4/0", "drops"),
    },
    Verdict {
        packets: "Hop-by-Hop options that the receiver shall not skip",
        right: Right::Both,
        section: "RFC 7915 5.1; RFC 8200 4.2",
        why: "to a translator the header \"MUST be ignored\", and xlat does; the kernel reads it before Jool and answers 4/2, as a node that examines options does",
        holds: |of| of.reason == "translated" && of.jool == "answers 4/2",
    },
    Verdict {
        packets: "the code of an echo, where it is not 0",
        right: Right::Both,
        section: "RFC 7915 4.2, 5.2",
        why: "only the type is adjusted: xlat carries the code. RFC 792 and 4443 know 0 only, which Jool sets",
        holds: |of| of.only(&["ICMP type and code"]) && of.view().is_some_and(|view| !view.is_error()),
    },
    Verdict {
        packets: "a traffic class with bits other than 0x1c",
        right: Right::Xlat,
        section: "RFC 7915 5.1",
        why: "the TOS is copied from the traffic class, all 8 bits of it; Jool keeps 0x1c, those that are for routing, and loses precedence and ECN with the rest",
        holds: |of| of.only(&["TOS"]) && of.has_masked_tos(),
    },
    Verdict {
        packets: "Packet Too Big with an MTU of 0",
        right: Right::Xlat,
        section: "RFC 7915 5.2",
        why: "the smallest of MTU − 20 and the links' counts; Jool's subtraction wraps around, and it tells 1480",
        holds: |of| {
            of.only(&["ICMP rest of header"])
                && of.icmp_rest() == Some(&[0, 0, 0, 0])
                && of.view().is_some_and(|view| view.icmp_type() == Some(2))
        },
    },
    Verdict {
        packets: "bytes of an ICMP error's header that are unused",
        right: Right::Both,
        section: "RFC 792; RFC 4443 3.1",
        why: "RFC 7915 says nothing about them. xlat carries them, Jool sets them to 0",
        holds: |of| {
            of.only(&["ICMP rest of header"])
                && of.view().is_some_and(|view| {
                    view.is_error() && view.length_attribute() == 0 && matches!(view.icmp_type(), Some(1 | 3 | 11))
                })
        },
    },
    Verdict {
        packets: "Fragmentation Needed about a fragment",
        right: Right::Xlat,
        section: "RFC 7915 4.1",
        why: "the translation gets a Fragment Header, for which the MTU has to leave 8 bytes; what fits Jool's MTU is refused again",
        holds: |of| {
            of.did("answers 3/4", "answers 3/4")
                && of.only(&["ICMP rest of header"])
                && of.view().is_some_and(|view| view.is_fragment)
        },
    },
    Verdict {
        packets: "an ICMPv6 error about a fragment",
        right: Right::Xlat,
        section: "RFC 7915 5.2, 5.3",
        why: "the included header is translated like any other, and the MTU takes its Fragment Header \"into account\"; Jool makes a whole packet of the first fragment",
        holds: |of| of.only(&["ICMP rest of header", "inner flags and offset", "inner identification"]),
    },
    Verdict {
        packets: "a length attribute (RFC 4884) that ends within the quoted header",
        right: Right::Xlat,
        section: "RFC 7915 4.3, 5.3",
        why: "the included header MUST be translated. xlat takes the message for one without extension; Jool writes into the header, whose addresses or checksum are wrong then",
        holds: |of| of.did("translates", "translates") && has_wrong_length_attribute(of.view()),
    },
    Verdict {
        packets: "an extension (RFC 4884) that makes the ICMPv6 or ICMPv4 error too long",
        right: Right::Xlat,
        section: "RFC 7915 4.2",
        why: "the extension \"SHOULD be simply truncated\"; Jool removes it",
        holds: |of| of.only(&EXTENSION) && of.drops_extension(),
    },
    Verdict {
        packets: "an extension (RFC 4884) in Fragmentation Needed",
        right: Right::Xlat,
        section: "RFC 4884 4",
        why: "Packet Too Big has no length attribute: xlat removes padding and extension, Jool leaves them behind the quoted packet as if they were part of it",
        holds: |of| of.only(&["length", "inner payload"]) && of.view().is_some_and(|view| view.length_attribute() != 0),
    },
    Verdict {
        packets: "an extension (RFC 4884) in an ICMPv4 error",
        right: Right::Both,
        section: "RFC 4884 4.1",
        why: "the quoted packet grows by 20 bytes, the attribute counts 8: xlat pads with zeros, Jool cuts the quotation by 4 bytes",
        holds: |of| of.only(&EXTENSION) && of.view().is_some_and(|view| !view.is_ipv6 && view.length_attribute() != 0),
    },
];

/// Fields that differ with an extension.
const EXTENSION: [&str; 3] = ["length", "ICMP rest of header", "inner payload"];

fn is_illegal(of: &Difference) -> bool {
    matches!(of.reason.as_str(), "illegal_source" | "illegal_destination")
}

fn is_unknown_to_jool(view: Option<View<'_>>) -> bool {
    view.is_some_and(|view| matches!(view.protocol, 33 | 136))
}

/// How many bytes of a protocol an ICMP error quotes, if it quotes that protocol.
fn inner_len(of: &Difference, protocol: u8) -> Option<usize> {
    let inner = of.view()?.inner()?;
    (inner.protocol == protocol && inner.offset == 0).then_some(inner.payload.len())
}

fn is_about_later_fragment(of: &Difference) -> bool {
    of.view().and_then(|view| view.inner()).is_some_and(|inner| inner.offset != 0)
}

fn is_about_illegal_address(of: &Difference) -> bool {
    let inner = of.view().and_then(|view| view.inner()).filter(|inner| !inner.is_ipv6);
    let is_illegal = |address: &[u8]| matches!(address, [0 | 127 | 224.., ..] | [169, 254, ..]);
    inner.is_some_and(|inner| [12..16, 16..20].into_iter().filter_map(|at| inner.packet.get(at)).any(is_illegal))
}

fn is_about_udp_without_checksum(of: &Difference) -> bool {
    let inner = of.view().and_then(|view| view.inner());
    inner.is_some_and(|inner| inner.protocol == 17 && inner.payload.get(6..8) == Some(&[0, 0]))
}

fn is_short(view: &View<'_>) -> bool {
    let least = match view.protocol {
        6 => 20,
        _ => 8,
    };
    view.payload.len() < least
}

/// Whether an ICMP error's length attribute ends beyond the message or within the quoted header.
fn has_wrong_length_attribute(view: Option<View<'_>>) -> bool {
    let Some(view) = view else { return false };
    let unit = if view.is_ipv6 { 8 } else { 4 };
    let length = usize::from(view.length_attribute()) * unit;
    let header = if view.is_ipv6 { 40 } else { 20 };
    length != 0 && (length > view.payload.len() - 8 || length < header)
}
