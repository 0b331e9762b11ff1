//! The texts, one entry for each reason.

use xlat_common::reason::DropReason;

use super::{
    Answer::{Icmp, Silent},
    Entry,
};

/// What an operator should know of a reason.
#[must_use]
pub const fn entry(reason: DropReason) -> Entry {
    match reason {
        DropReason::MalformedHeader
        | DropReason::Ipv4Checksum
        | DropReason::MalformedOptions
        | DropReason::ExtensionChain
        | DropReason::MalformedTransport => unreadable(reason),
        DropReason::OutOfScope
        | DropReason::DeniedSource
        | DropReason::DeniedDestination
        | DropReason::IllegalSource
        | DropReason::IllegalDestination
        | DropReason::WellKnownPrefix => by_address(reason),
        DropReason::IcmpFragment
        | DropReason::IcmpType
        | DropReason::IcmpPointer
        | DropReason::InnerPacket
        | DropReason::InnerIcmpError
        | DropReason::NoSource => by_icmp(reason),
        DropReason::PacketTooBig | DropReason::FragmentTooBig | DropReason::Reflected | DropReason::Internal => {
            on_the_way(reason)
        }
        _ => by_protocol(reason),
    }
}

/// Headers that cannot be read.
const fn unreadable(reason: DropReason) -> Entry {
    match reason {
        DropReason::MalformedHeader => Entry {
            meaning: "The packet is for a service, but its IP header contradicts itself or the frame: cut short, a wrong \
                version, a length beyond the end.",
            cause: "A broken or hostile sender, or damage on the way. Where it begins suddenly at one interface: its NIC, \
                driver or cable.",
            remedy: "Look at the packets (`xlat-ctl capture --reason malformed_header`). From one source: tell its owner. A \
                flood is filtered on a router before the relay. From everywhere: look at the interface's errors (`ip -s -s link`, `ethtool -S`).",
            answer: Silent,
            source: "RFC 1812 5.2.2, RFC 8200 3",
            section: "2",
        },
        DropReason::Ipv4Checksum => Entry {
            meaning: "The IPv4 header's checksum does not fit the header, so that no field of it can be believed.",
            cause: "Damage on the way. In a test or on a virtual machine: a sender with checksum offload whose frames reach \
                the relay without a NIC that fills the checksum in.",
            remedy: "Look at the interface's errors (`ethtool -S`). For a local sender: `ethtool -K IFACE tx off` there. \
                Hand-made packets: compute the checksum.",
            answer: Silent,
            source: "RFC 1812 5.2.2",
            section: "2",
        },
        DropReason::MalformedOptions => Entry {
            meaning: "A source route among the IPv4 options says a length of 0 or 1, or one beyond the header: whether it is \
                expired cannot be told. Any other option whose length lies is ignored, as all options are, and with it what follows.",
            cause: "A scanner or a fuzzer; hardly any real sender uses IPv4 options at all.",
            remedy: "Nothing, at a low rate. A flood is filtered on a router before the relay: `[deny]` would answer it, out of the same \
                `[icmp] rate` that path MTU discovery needs.",
            answer: Silent,
            source: "RFC 7915 4.1; RFC 791 3.1",
            section: "2",
        },
        DropReason::ExtensionChain => Entry {
            meaning: "More than 32 IPv6 extension headers stand before the transport header. That is this program's limit, as \
                its work for one packet has to be bounded.",
            cause: "A scanner or a fuzzer: no application sends such packets.",
            remedy: "Nothing. If it is an experiment of yours: use fewer extension headers.",
            answer: Silent,
            source: "limit of this program; RFC 8200 4.1 expects each header at most once",
            section: "2",
        },
        _ => Entry {
            meaning: "A whole packet ends before its TCP, UDP, UDP-Lite, DCCP or ICMP header does, so that there is no \
                checksum to adjust.",
            cause: "A broken or hostile sender. A tunnel or a capture tool that cuts packets without changing their length.",
            remedy: "Look at the packets (`xlat-ctl capture --reason malformed_transport`) and at who sends them. From one source: tell its \
                owner. A flood is filtered on a router before the relay: `[deny]` would answer it.",
            answer: Silent,
            source: "RFC 7915 4.5, 5.5",
            section: "2",
        },
    }
}

/// Decided by the addresses.
const fn by_address(reason: DropReason) -> Entry {
    match reason {
        DropReason::OutOfScope => Entry {
            meaning: "No EAM matches either address (`scope = \"eam\"`), one of the two maps to nothing, or the source is an \
                address of the relay's own; and `strict` is on. Without `strict` the kernel would have got the packet untouched.",
            cause: "Traffic that is routed to the relay and is none of its services': an entry that is missing, a route that \
                is too wide, scans of unused addresses.",
            remedy: "`xlat-ctl lookup` both addresses. A missing service: `xlat-ctl eam add`. A route that is too wide: narrow \
                it. Traffic that the machine shall route: `strict = false`.",
            answer: Silent,
            source: "settings `[translation] strict` and `scope`; RFC 7755 3.2",
            section: "3",
        },
        DropReason::DeniedSource => Entry {
            meaning: "The source address, as it came or as it maps, is in `[deny]`. That list wins over every EAM.",
            cause: "You, when you wrote the list; or the host in it that goes on sending.",
            remedy: "Intended: nothing. Otherwise `xlat-ctl lookup ADDRESS` names the entry of the list; take it out, and \
                `xlat-ctl reload`.",
            answer: Icmp("ICMP 3/13, ICMPv6 1/1"),
            source: "setting `[deny]`; RFC 7915 4.4, 5.4",
            section: "4",
        },
        DropReason::DeniedDestination => Entry {
            meaning: "The destination address, as it came or as it maps, is in `[deny]`. That list wins over every EAM.",
            cause: "A client of a service that is switched off by the list; scans of the addresses around a service.",
            remedy: "Intended: nothing. Otherwise find the entry with `xlat-ctl lookup ADDRESS`, take it out of the list, and \
                `xlat-ctl reload`.",
            answer: Icmp("ICMP 3/13, ICMPv6 1/1"),
            source: "setting `[deny]`; RFC 7915 4.4, 5.4",
            section: "4",
        },
        DropReason::IllegalSource => Entry {
            meaning: "The source, as it came or as it maps, is one that no packet from another machine may have: loopback, \
                link-local, multicast, broadcast, unspecified.",
            cause: "Forged sources. In IPv6 a server that talks to a translated address from its link-local one: it has no \
                global address, or a route that makes it choose so.",
            remedy: "For a server of yours: give it a global address (`ip -6 addr`), look at `ip -6 route get`. Forged ones: \
                filter where they come in (BCP 38).",
            answer: Silent,
            source: "RFC 7915 4.1, 5.1; RFC 1812 5.3.7",
            section: "4",
        },
        DropReason::IllegalDestination => Entry {
            meaning: "The destination, as it came or as it maps, is loopback, link-local, multicast, broadcast or unspecified: \
                such packets are not forwarded.",
            cause: "A host that talks to a special address inside the translation prefix, such as \
                PREFIX::127.0.0.1 or PREFIX::224.0.0.1; a scanner.",
            remedy: "Look at what the sender was told to talk to: a DNS64 that makes an AAAA record of such an A record, a \
                configuration with an address of that kind.",
            answer: Silent,
            source: "RFC 1812 5.3.7",
            section: "4",
        },
        _ => Entry {
            meaning: "An IPv4 address that is not global (RFC 1918 and others) would stand inside 64:ff9b::/96, or does: that \
                prefix is for global addresses only.",
            cause: "The well-known prefix as translation prefix in a network with private IPv4 addresses, or in a test with \
                documentation addresses.",
            remedy: "Use a translation prefix of your own (`[translation] prefixes`). Where you are sure that nobody else sees \
                those addresses: `well_known_prefix_strict = false`.",
            answer: Icmp("ICMP 3/13, ICMPv6 1/1"),
            source: "RFC 6052 3.1; setting `[translation] well_known_prefix_strict`",
            section: "4",
        },
    }
}

/// Decided by the headers after the addresses.
const fn by_protocol(reason: DropReason) -> Entry {
    match reason {
        DropReason::HopLimitExceeded => Entry {
            meaning: "TTL or hop limit was 0 or 1 on arrival: this relay is where the packet's life ends, as at any router.",
            cause: "`traceroute` and `mtr`, for which it is meant. At a high rate: a routing loop through the relay.",
            remedy: "A few a second: nothing. Many: look for the loop, which is a destination whose route on the next router \
                leads back here (`traceroute` to it shows the same two hops again and again).",
            answer: Icmp("ICMP 11/0, ICMPv6 3/0"),
            source: "RFC 7915 4.1, 5.1",
            section: "5",
        },
        DropReason::SourceRoute => Entry {
            meaning: "The IPv4 packet has a loose or strict source route with hops left. The option has no translation, and \
                without it the packet would go another way than it asks for.",
            cause: "Scanners. Source routing is dead on the Internet.",
            remedy: "Nothing. A tool of yours that sends it (`ping -g` of old): do without.",
            answer: Icmp("ICMP 3/5"),
            source: "RFC 7915 4.1",
            section: "6",
        },
        DropReason::Igmp => Entry {
            meaning: "An IGMP message to or from a mapped address: group membership is for one link, and multicast is not \
                translated.",
            cause: "A router or switch that queries a unicast address; scanners.",
            remedy: "Nothing at the relay; look at who sends IGMP to a unicast address if it is a machine of yours.",
            answer: Silent,
            source: "RFC 7915 4.2",
            section: "6",
        },
        DropReason::UdpChecksumZero => Entry {
            meaning: "An IPv4 UDP packet without checksum, which IPv6 does not allow. Each is logged with addresses and ports, \
                at most ten a second; `xlat_suppressed_events_total` counts the others.",
            cause: "Old or embedded senders, some tunnels (VXLAN, GRE in UDP) and voice equipment that leave the checksum \
                out.",
            remedy: "`[translation] udp_zero_checksum = \"compute\"` computes it, for whole packets; fragments \
                (`udp_checksum_zero_fragment`) stay dropped. Or have the sender set one.",
            answer: Silent,
            source: "RFC 7915 4.5; setting `[translation] udp_zero_checksum`",
            section: "6",
        },
        DropReason::UdpChecksumZeroFragment => Entry {
            meaning: "The first fragment of an IPv4 UDP packet without checksum. None can be computed, as the relay never has \
                the whole packet.",
            cause: "A sender that leaves the checksum out and sends datagrams larger than the path's MTU.",
            remedy: "Have the sender set a checksum, or send smaller datagrams and use `udp_zero_checksum = \"compute\"`. No \
                setting mends fragments.",
            answer: Silent,
            source: "RFC 7915 4.5",
            section: "6",
        },
        DropReason::RoutingHeader => Entry {
            meaning: "The IPv6 packet has a routing header with segments left: its destination is a stop on the way, and IPv4 \
                cannot say where it goes on to.",
            cause: "Segment routing (SRv6) or Mobile IPv6 that ends at the wrong place; scanners with the deprecated type 0.",
            remedy: "End the segment list before the relay, so that packets arrive with Segments Left 0 or without the header.",
            answer: Icmp("ICMPv6 4/0, pointer at Segments Left"),
            source: "RFC 7915 5.1",
            section: "7",
        },
        _ => Entry {
            meaning: "In an IPv6 fragment an extension header follows the Fragment Header. In IPv4 there would be no place for \
                it in the fragments. Logged, at most ten a second together with UDP without checksum; \
                `xlat_suppressed_events_total` counts the others.",
            cause: "A sender that fragments packets with IPsec AH or destination options; scanners.",
            remedy: "Have the sender use packets that need no fragmenting, or leave those headers out: AH does not survive \
                translation in any case.",
            answer: Icmp("ICMPv6 1/1"),
            source: "RFC 7915 5.1.1, 5.4",
            section: "7",
        },
    }
}

/// About ICMP.
const fn by_icmp(reason: DropReason) -> Entry {
    match reason {
        DropReason::IcmpFragment => Entry {
            meaning: "A fragment of an ICMP message. Its checksum covers the whole message, and in IPv6 a pseudo-header too: \
                it cannot be adjusted in a piece.",
            cause: "`ping` with a size above the MTU of its sender or of a router on the way, as in `ping -s 2000`. What only the \
                translation makes too large gets through.",
            remedy: "Nothing: such pings do not get through any translator without state. Test large packets with DF, \
                `ping -M do -s 1400`.",
            answer: Silent,
            source: "RFC 7915 1.2",
            section: "6",
        },
        DropReason::IcmpType => Entry {
            meaning: "An ICMP type, or a code of a known type, that has no equivalent in the other family, and that RFC 7915 \
                wants dropped.",
            cause: "Timestamp or address mask requests of scanners; redirects; in IPv6 neighbour discovery or multicast \
                listener messages to a mapped address.",
            remedy: "Nothing. If it is neighbour discovery: a host takes a mapped address for one on its link; give it a route \
                through a router instead.",
            answer: Silent,
            source: "RFC 7915 4.2, 5.2",
            section: "8",
        },
        DropReason::IcmpPointer => Entry {
            meaning: "A Parameter Problem that points at a field which the other family's header does not have.",
            cause: "A router that complains of an option or of the checksum: rare, as hardly anything sends Parameter Problem.",
            remedy: "Look at what the sender of the error complains of (`xlat-ctl capture --reason icmp_pointer`), and mend that.",
            answer: Silent,
            source: "RFC 7915 figures 3 and 6",
            section: "8",
        },
        DropReason::InnerPacket => Entry {
            meaning: "An ICMP error quotes a packet that cannot be translated, so that its receiver could not tell which of its \
                packets it is about: an address that maps to nothing, a header that cannot be read.",
            cause: "Errors about packets that did not come through a relay with this table: forged ones, or relays whose \
                tables differ.",
            remedy: "Compare the tables of all relays of the service (`xlat-ctl eam export`). `xlat-ctl lookup` the quoted \
                addresses.",
            answer: Silent,
            source: "RFC 7915 4.3, 5.3",
            section: "8",
        },
        DropReason::InnerIcmpError => Entry {
            meaning: "An ICMP error about an ICMP error, which no sane machine sends (RFC 1122 3.2.2, RFC 4443 2.4).",
            cause: "A broken or hostile sender, often one that reflects whatever it gets.",
            remedy: "Nothing at a low rate; at a high one look for the machine that answers errors with errors.",
            answer: Silent,
            source: "RFC 7915 4.3, 5.3",
            section: "8",
        },
        _ => Entry {
            meaning: "An ICMP error comes from a router whose address maps to nothing, and there is no address to send it from \
                in the other family.",
            cause: "An IPv6 router on the path without an IPv4 mapping, no `ipv4_pool`, and no IPv4 address on the relay; or \
                the other way round without `ipv6_pool` or a translation prefix.",
            remedy: "Set `[icmp] ipv4_pool` (or `ipv6_pool`) to addresses of yours: path MTU discovery and traceroute depend on \
                these errors.",
            answer: Silent,
            source: "RFC 6791; settings `[icmp] ipv4_pool`, `ipv6_pool`",
            section: "8",
        },
    }
}

/// On the way out.
const fn on_the_way(reason: DropReason) -> Entry {
    match reason {
        DropReason::PacketTooBig => Entry {
            meaning: "The translated packet is larger than the next hop's MTU and may not be fragmented. The sender is told the \
                size that fits.",
            cause: "Path MTU discovery at work: IPv6 headers are 20 bytes longer than IPv4's, so that a full-sized IPv4 packet \
                does not fit the same MTU.",
            remedy: "A few for each new client: nothing. If the same client goes on: it does not hear the ICMP error (a filter \
                on the way), so open ICMP there, raise the MTU inside by 20 or more, or clamp the TCP MSS.",
            answer: Icmp("ICMP 3/4, ICMPv6 2/0, with the MTU"),
            source: "RFC 7915 4.1, 5.1; RFC 1191, RFC 8201",
            section: "6",
        },
        DropReason::FragmentTooBig => Entry {
            meaning: "A piece that the fragmenter made is still larger than `lowest_ipv6_mtu` or the next hop's MTU allow, and \
                is not sent round again. Pieces have 1252 bytes, which fit every way.",
            cause: "An upgrade from a version with larger pieces, in the moment in which one was on its way.",
            remedy: "Nothing, if it stops after a moment. If not: it is a bug; report it with `xlat-ctl status --json` and \
                `ip -details link`.",
            answer: Silent,
            source: "RFC 7915 4.1; setting `[translation] lowest_ipv6_mtu`",
            section: "6",
        },
        DropReason::Reflected => Entry {
            meaning: "A packet came back from the fragmenter, and is in no scope any more: passed on, it would go round for \
                ever.",
            cause: "An entry was deleted while a packet for it was in the fragmenter; or somebody routes packets into the \
                fragmenter's interface.",
            remedy: "Nothing, if it stops after a moment. If not: look for a route or rule of yours that names the interface \
                `xlat0` (`ip rule`, `ip route show table all`).",
            answer: Silent,
            source: "docs/architecture.md, “The fragmenter”",
            section: "3",
        },
        _ => Entry {
            meaning: "The program could not do its work on a packet that it should have translated: no room before the packet, \
                a program that is missing, the kernel refused a redirect. It is never the packet's fault.",
            cause: "A driver that leaves too little room before the frame; the fragmenter's interface taken away by hand; a \
                fault of xlat.",
            remedy: "`xlat-ctl doctor`, then `xlat-ctl reload`, which makes a new program instance. If it goes on: report it \
                with `xlat-ctl status --json` and the packet's `xlat-ctl explain`.",
            answer: Silent,
            source: "docs/architecture.md, “A packet's way”",
            section: "11",
        },
    }
}
