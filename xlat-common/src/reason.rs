//! Why a packet was dropped: one list, from which come the counter's place, the metric's label and the text for people.

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $text:literal;)*) => {
        /// Why a packet was dropped. `docs/translation.md` says which are answered with an ICMP error.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum DropReason { $($(#[$doc])* $variant,)* }

        impl DropReason {
            /// Every reason, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name in metrics, logs, documents and commands.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// What it means, in one sentence.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

reasons! {
    /// RFC 1812 5.2.2, RFC 8200 3.
    MalformedHeader = "malformed_header", "An IP header cannot be read: too short, or a length that contradicts the frame.";
    /// RFC 1812 5.2.2.
    Ipv4Checksum = "ipv4_checksum", "The IPv4 header checksum is wrong.";
    /// RFC 7915 4.1, RFC 791 3.1.
    MalformedOptions = "malformed_options", "An IPv4 source route has a length that cannot be true.";
    /// Limit of this program.
    ExtensionChain = "extension_chain", "The IPv6 packet has more than 32 extension headers.";
    /// RFC 7915 4.5, 5.5.
    MalformedTransport = "malformed_transport", "The packet ends within its TCP, UDP, UDP-Lite, DCCP or ICMP header.";
    /// Setting `strict`.
    OutOfScope = "out_of_scope", "The packet's addresses are in no mapping's scope, and strict mode drops what is not translated.";
    /// Setting `[deny]`.
    DeniedSource = "denied_source", "The source address is in the operator's deny list.";
    /// Setting `[deny]`.
    DeniedDestination = "denied_destination", "The destination address is in the operator's deny list.";
    /// RFC 7915 4.1, 5.1; RFC 1812 5.3.7.
    IllegalSource = "illegal_source", "The source is loopback, link-local, multicast, broadcast or unspecified.";
    /// RFC 1812 5.3.7.
    IllegalDestination = "illegal_destination", "The destination is loopback, link-local, multicast, broadcast or unspecified.";
    /// RFC 6052 3.1.
    WellKnownPrefix = "well_known_prefix", "A non-global IPv4 address would be represented in the well-known prefix 64:ff9b::/96.";
    /// RFC 7915 4.1, 5.1.
    HopLimitExceeded = "hop_limit_exceeded", "TTL or hop limit was used up at this relay.";
    /// RFC 7915 4.1.
    SourceRoute = "source_route", "The IPv4 packet has an unexpired source route option.";
    /// RFC 7915 4.2.
    Igmp = "igmp", "IGMP is not translated.";
    /// RFC 7915 4.5.
    UdpChecksumZero = "udp_checksum_zero", "An IPv4 UDP packet without checksum, and udp_zero_checksum is \"drop\".";
    /// RFC 7915 4.5.
    UdpChecksumZeroFragment = "udp_checksum_zero_fragment", "A fragmented IPv4 UDP packet without checksum: none can be computed.";
    /// RFC 7915 1.2.
    IcmpFragment = "icmp_fragment", "Fragmented ICMP is not translated.";
    /// RFC 7915 4.1, 5.1.
    PacketTooBig = "packet_too_big", "The translated packet does not fit the next hop's MTU and must not be fragmented.";
    /// RFC 7915 4.1.
    FragmentTooBig = "fragment_too_big", "A piece that came from the fragmenter still does not fit: another version has just been replaced.";
    /// RFC 7915 5.1.
    RoutingHeader = "routing_header", "The IPv6 packet has a routing header with segments left.";
    /// RFC 7915 5.1.1.
    FragmentExtension = "fragment_extension", "An extension header follows the IPv6 Fragment Header.";
    /// RFC 7915 4.2, 5.2.
    IcmpType = "icmp_type", "An ICMP type or code that has no equivalent in the other family.";
    /// RFC 7915 figures 3 and 6.
    IcmpPointer = "icmp_pointer", "An ICMP Parameter Problem whose pointer has no equivalent in the other family.";
    /// RFC 7915 4.3, 5.3.
    InnerPacket = "inner_packet", "The packet inside an ICMP error cannot be translated.";
    /// RFC 7915 4.3, 5.3.
    InnerIcmpError = "inner_icmp_error", "An ICMP error about an ICMP error.";
    /// RFC 6791.
    NoSource = "no_source", "An ICMP error's source maps to nothing, and there is no pool to take one from.";
    /// A loop through the slow path.
    Reflected = "reflected", "A packet came back from the slow path and still has no translation.";
    /// A fault of the program or its set-up, never of the packet.
    Internal = "internal", "The program could not do its work on this packet (no room before the packet, a tail call failed).";
}

impl DropReason {
    /// The reason with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.name() == name)
    }
}
