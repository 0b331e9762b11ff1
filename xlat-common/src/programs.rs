//! The object's programs: the entry that is attached, and those it hands rare packets to by tail call.

/// The program that is attached to interfaces.
pub const ENTRY: &str = "xlat";

/// The program that the daemon runs while it follows the machine's routing; it is attached nowhere.
pub const RENEW: &str = "xlat_renew";

/// Places in the `PROGRAMS` array.
pub mod index {
    /// IPv4 packets that are none for the fast path.
    pub const FOUR_TO_SIX: u32 = 0;
    /// IPv6 packets that are none for the fast path.
    pub const SIX_TO_FOUR: u32 = 1;
    /// ICMPv4 errors.
    pub const ICMP4_ERROR: u32 = 2;
    /// ICMPv6 errors.
    pub const ICMP6_ERROR: u32 = 3;
    /// Answers an IPv4 packet with an ICMPv4 error.
    pub const REPLY4: u32 = 4;
    /// Answers an IPv6 packet with an ICMPv6 error.
    pub const REPLY6: u32 = 5;
    /// The second pass of a hairpinned packet (RFC 7757 4.2.2).
    pub const HAIRPIN: u32 = 6;
    /// The second pass of a hairpinned ICMP error.
    pub const HAIRPIN_ICMP_ERROR: u32 = 7;
    /// Number of places.
    pub const COUNT: u32 = 8;
}

/// Each tail-called program by name, with its place in the `PROGRAMS` array.
pub const TAIL_CALLS: &[(&str, u32)] = &[
    ("xlat_four_to_six", index::FOUR_TO_SIX),
    ("xlat_six_to_four", index::SIX_TO_FOUR),
    ("xlat_icmp4_error", index::ICMP4_ERROR),
    ("xlat_icmp6_error", index::ICMP6_ERROR),
    ("xlat_reply4", index::REPLY4),
    ("xlat_reply6", index::REPLY6),
    ("xlat_hairpin", index::HAIRPIN),
    ("xlat_hairpin_icmp_error", index::HAIRPIN_ICMP_ERROR),
];
