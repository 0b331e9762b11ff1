//! Explicit address mappings (RFC 7757) as operators write them: reading, judging, and the table in which overlaps show.

mod table;

use std::{
    borrow::Cow,
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

pub use self::table::Table;
use ipnet::{Ipv4Net, Ipv6Net};
use xlat_common::{address, mapping, table as rule_book};

/// Longest comment of an entry, in bytes.
pub const MAX_COMMENT: usize = 256;

/// How much of a text an error repeats, in characters.
const MOST_QUOTED: usize = 80;

/// A text as an error repeats it: its beginning, where it is long.
#[must_use]
pub fn cut(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MOST_QUOTED) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

/// Why a text is not the prefix that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Not an address of either family.
    #[error("`{text}` is not an {family} address or prefix (examples: {example})")]
    NotAPrefix {
        /// What was given.
        text: String,
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// How it would look.
        example: &'static str,
    },
    /// An address of the other family.
    #[error("`{text}` is an {found} address; an {family} address or prefix belongs here")]
    OtherFamily {
        /// What was given.
        text: String,
        /// The family it is of.
        found: &'static str,
        /// The family that was expected.
        family: &'static str,
    },
    /// The length is not one of this family's.
    #[error("`{text}`: {family} prefix lengths go from 0 to {greatest}")]
    Length {
        /// What was given.
        text: String,
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// 32 or 128.
        greatest: u8,
    },
    /// Bits after the prefix are set.
    #[error("`{text}` has host bits set: write {prefix} for the whole prefix, or {address} for the one address")]
    HostBits {
        /// What was given.
        text: String,
        /// The prefix without host bits.
        prefix: String,
        /// The address without length.
        address: String,
    },
}

impl PrefixError {
    /// Whether the text could not be read at all, in contrast to one that can be read and is refused.
    #[must_use]
    pub fn is_syntax(&self) -> bool {
        !matches!(self, Self::HostBits { .. })
    }
}

/// Splits `ADDRESS[/LEN]`; `None` as the inner length when there is no slash.
fn split(text: &str) -> Option<(&str, Option<u16>)> {
    match text.split_once('/') {
        None => Some((text, None)),
        Some((address, len)) if !len.is_empty() && len.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((address, Some(len.parse().unwrap_or(u16::MAX))))
        }
        Some(_) => None,
    }
}

/// Reads an IPv4 address (a /32) or an IPv4 prefix without host bits.
///
/// # Errors
/// Says what is wrong with the text.
pub fn parse_ipv4(text: &str) -> Result<Ipv4Net, PrefixError> {
    let not_a_prefix =
        || PrefixError::NotAPrefix { text: cut(text).into_owned(), family: "IPv4", example: "192.0.2.1, 192.0.2.0/24" };
    let (address, len) = split(text).ok_or_else(not_a_prefix)?;
    let other_family = || PrefixError::OtherFamily { text: cut(text).into_owned(), found: "IPv6", family: "IPv4" };
    let refuse = |_| if address.parse::<Ipv6Addr>().is_ok() { other_family() } else { not_a_prefix() };
    let address: Ipv4Addr = address.parse().map_err(refuse)?;
    let length = || PrefixError::Length { text: cut(text).into_owned(), family: "IPv4", greatest: 32 };
    let len = u8::try_from(len.unwrap_or(32)).map_err(|_| length())?;
    let net = Ipv4Net::new(address, len).map_err(|_| length())?;
    if net.network() != address {
        let (prefix, address) = (net.trunc().to_string(), address.to_string());
        return Err(PrefixError::HostBits { text: cut(text).into_owned(), prefix, address });
    }
    Ok(net)
}

/// Reads an IPv6 address (a /128) or an IPv6 prefix without host bits.
///
/// # Errors
/// Says what is wrong with the text.
pub fn parse_ipv6(text: &str) -> Result<Ipv6Net, PrefixError> {
    let not_a_prefix = || PrefixError::NotAPrefix {
        text: cut(text).into_owned(),
        family: "IPv6",
        example: "2001:db8::1, 2001:db8::/64",
    };
    let (address, len) = split(text).ok_or_else(not_a_prefix)?;
    let other_family = || PrefixError::OtherFamily { text: cut(text).into_owned(), found: "IPv4", family: "IPv6" };
    let refuse = |_| if address.parse::<Ipv4Addr>().is_ok() { other_family() } else { not_a_prefix() };
    let address: Ipv6Addr = address.parse().map_err(refuse)?;
    let length = || PrefixError::Length { text: cut(text).into_owned(), family: "IPv6", greatest: 128 };
    let len = u8::try_from(len.unwrap_or(128)).map_err(|_| length())?;
    let net = Ipv6Net::new(address, len).map_err(|_| length())?;
    if net.network() != address {
        let (prefix, address) = (net.trunc().to_string(), address.to_string());
        return Err(PrefixError::HostBits { text: cut(text).into_owned(), prefix, address });
    }
    Ok(net)
}

/// Ranges from which and to which nothing may be sent, with their names.
const ILLEGAL4: [(Ipv4Net, &str); 5] = [
    (Ipv4Net::new_assert(Ipv4Addr::new(0, 0, 0, 0), 8), "this network (0.0.0.0/8)"),
    (Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8), "loopback (127.0.0.0/8)"),
    (Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16), "link-local (169.254.0.0/16)"),
    (Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4), "multicast (224.0.0.0/4)"),
    (Ipv4Net::new_assert(Ipv4Addr::new(240, 0, 0, 0), 4), "reserved or broadcast (240.0.0.0/4)"),
];
/// The same for IPv6.
const ILLEGAL6: [(Ipv6Net, &str); 4] = [
    (Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128), "the unspecified address (::)"),
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), "loopback (::1)"),
    (Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10), "link-local (fe80::/10)"),
    (Ipv6Net::new_assert(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8), "multicast (ff00::/8)"),
];

/// The name of the illegal range that holds all of `net`: loopback, link-local, multicast and so on.
#[must_use]
pub fn illegal_ipv4(net: Ipv4Net) -> Option<&'static str> {
    ILLEGAL4.iter().find(|(range, _)| range.contains(&net)).map(|(_, name)| *name)
}

/// The name of the illegal range that holds all of `net`: unspecified, loopback, link-local, multicast.
#[must_use]
pub fn illegal_ipv6(net: Ipv6Net) -> Option<&'static str> {
    ILLEGAL6.iter().find(|(range, _)| range.contains(&net)).map(|(_, name)| *name)
}

/// One IPv4 prefix and one IPv6 prefix that may stand for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    ipv4: Ipv4Net,
    ipv6: Ipv6Net,
}

impl fmt::Display for Pair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ↔ {}", short4(self.ipv4), short6(self.ipv6))
    }
}

/// A prefix as people say it: a single address without its length.
#[must_use]
pub fn short4(net: Ipv4Net) -> String {
    if net.prefix_len() == 32 { net.addr().to_string() } else { net.to_string() }
}

/// A prefix as people say it: a single address without its length.
#[must_use]
pub fn short6(net: Ipv6Net) -> String {
    if net.prefix_len() == 128 { net.addr().to_string() } else { net.to_string() }
}

/// What is wrong with an entry whose IPv6 addresses are IPv4-mapped ones.
pub const IPV4_MAPPED: &str =
    "IPv4-mapped addresses (::ffff:0:0/96) are on no wire (RFC 4291 2.5.5.2): give the service's own IPv6 address";

impl Pair {
    /// Pairs two prefixes, without their host bits.
    ///
    /// # Errors
    /// One sentence: the IPv4 suffix is longer than the IPv6 suffix (RFC 7757 3.2), or one of the prefixes can never be
    /// a packet's address.
    pub fn new(ipv4: Ipv4Net, ipv6: Ipv6Net) -> Result<Self, String> {
        let (suffix4, suffix6) = (32 - ipv4.prefix_len(), 128 - ipv6.prefix_len());
        if suffix4 > suffix6 {
            return Err(format!(
                "IPv4 prefix {ipv4} has {suffix4} suffix bits, but IPv6 prefix {ipv6} leaves room for {suffix6}: \
                 give an IPv6 prefix of /{} or shorter, or an IPv4 prefix of /{} or longer",
                128 - suffix4,
                32 - suffix6,
            ));
        }
        if let Some(range) = illegal_ipv4(ipv4) {
            return Err(format!("{} is {range}: no packet may come from or go to it", short4(ipv4)));
        }
        if let Some(range) = illegal_ipv6(ipv6) {
            return Err(format!("{} is {range}: no packet may come from or go to it", short6(ipv6)));
        }
        Ok(Self { ipv4: ipv4.trunc(), ipv6: ipv6.trunc() })
    }

    /// Whether the IPv6 addresses are IPv4-mapped ones: see [`IPV4_MAPPED`].
    #[must_use]
    pub fn is_ipv4_mapped(&self) -> bool {
        self.ipv6.prefix_len() >= 96 && self.ipv6.addr().to_ipv4_mapped().is_some()
    }

    /// The IPv4 prefix.
    #[must_use]
    pub fn ipv4(&self) -> Ipv4Net {
        self.ipv4
    }

    /// The IPv6 prefix.
    #[must_use]
    pub fn ipv6(&self) -> Ipv6Net {
        self.ipv6
    }

    fn rule(&self) -> rule_book::Entry {
        rule_book::Entry {
            ipv4: self.ipv4.addr().to_bits(),
            len: 0,
            eam_len4: self.ipv4.prefix_len(),
            eam_len6: self.ipv6.prefix_len(),
            flags: rule_book::Entry::EAM,
            ipv6: self.ipv6.addr().into(),
            next_hop: 0,
        }
    }

    /// The IPv6 address for an IPv4 address within this pair (RFC 7757 3.3.1).
    #[must_use]
    pub fn to_ipv6(&self, address: Ipv4Addr) -> Ipv6Addr {
        mapping::eam_to_ipv6(&self.rule(), address.to_bits()).into()
    }

    /// The IPv4 address for an IPv6 address within this pair (RFC 7757 3.3.2).
    #[must_use]
    pub fn to_ipv4(&self, address: Ipv6Addr) -> Ipv4Addr {
        Ipv4Addr::from_bits(mapping::eam_to_ipv4(&self.rule(), address::Ipv6::from(address)))
    }
}

/// Checks a comment: one line of at most [`MAX_COMMENT`] bytes, all of it to be seen.
///
/// # Errors
/// One sentence that says what is wrong.
pub fn check_comment(comment: &str) -> Result<(), String> {
    check_words("comment", comment)
}

/// Checks an operator's words as a comment is checked. `what`: what they are.
///
/// # Errors
/// One sentence that says what is wrong.
pub fn check_words(what: &str, words: &str) -> Result<(), String> {
    if words.len() > MAX_COMMENT {
        return Err(format!("the {what} has {} bytes; {MAX_COMMENT} are allowed", words.len()));
    }
    let Some(bad) = words.chars().find(|char| char.is_control() || is_invisible(*char)) else { return Ok(()) };
    let kind = if bad.is_control() { "a line break or another control character" } else { "which cannot be seen" };
    Err(format!("the {what} contains U+{:04X}, {kind}: take it out", u32::from(bad)))
}

/// Whether a character shows nothing, or changes the order in which others are shown: Unicode's format characters, and its
/// separators of lines and paragraphs.
fn is_invisible(char: char) -> bool {
    matches!(char,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A text with its invisible characters written as `\u202e`, which in JSON means the same. Words that were taken before they were
/// checked for such characters may have them.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_invisible) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if is_invisible(char) {
            char.encode_utf16(&mut [0; 2]).iter().for_each(|unit| shown.push_str(&format!("\\u{unit:04x}")));
        } else {
            shown.push(char);
        }
    }
    Cow::Owned(shown)
}

/// Where an entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// `[[eam]]` of the configuration.
    Static,
    /// Added by command.
    Dynamic,
}

/// The operator's words about an entry. Up to 24 bytes lie within the entry itself, as nearly all do: a million entries of their own on
/// the heap would be a quarter of the table.
pub type Comment = compact_str::CompactString;

/// One entry of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The two prefixes.
    pub pair: Pair,
    /// The operator's words, or empty.
    pub comment: Comment,
    /// Where it comes from.
    pub origin: Origin,
}

// What a million of them take is what the daemon's memory hangs on.
const _: () = assert!(size_of::<Entry>() == 48);

impl fmt::Display for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pair.fmt(formatter)?;
        if !self.comment.is_empty() {
            write!(formatter, " (“{}”)", visible(&self.comment))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong_with_a_prefix() {
        for (text, sentence) in [
            ("www", "`www` is not an IPv4 address or prefix (examples: 192.0.2.1, 192.0.2.0/24)"),
            ("192.0.2.1/", "`192.0.2.1/` is not an IPv4 address or prefix (examples: 192.0.2.1, 192.0.2.0/24)"),
            ("2001:db8::1", "`2001:db8::1` is an IPv6 address; an IPv4 address or prefix belongs here"),
            ("192.0.2.0/33", "`192.0.2.0/33`: IPv4 prefix lengths go from 0 to 32"),
            ("192.0.2.0/99999999", "`192.0.2.0/99999999`: IPv4 prefix lengths go from 0 to 32"),
            (
                "192.0.2.1/24",
                "`192.0.2.1/24` has host bits set: write 192.0.2.0/24 for the whole prefix, or 192.0.2.1 for the one address",
            ),
        ] {
            assert_eq!(parse_ipv4(text).unwrap_err().to_string(), sentence);
        }
        for (text, sentence) in [
            ("2001:db8::g", "`2001:db8::g` is not an IPv6 address or prefix (examples: 2001:db8::1, 2001:db8::/64)"),
            ("192.0.2.1", "`192.0.2.1` is an IPv4 address; an IPv6 address or prefix belongs here"),
            ("2001:db8::/129", "`2001:db8::/129`: IPv6 prefix lengths go from 0 to 128"),
            (
                "2001:db8::1/64",
                "`2001:db8::1/64` has host bits set: write 2001:db8::/64 for the whole prefix, or 2001:db8::1 for the one address",
            ),
        ] {
            assert_eq!(parse_ipv6(text).unwrap_err().to_string(), sentence);
        }
    }

    #[test]
    fn repeats_no_more_of_a_text_than_can_be_read() {
        for long in ["x".repeat(5_000_000), "ä".repeat(81), format!("192.0.2.1/{}24", "0".repeat(1000))] {
            for said in [parse_ipv4(&long).unwrap_err().to_string(), parse_ipv6(&long).unwrap_err().to_string()] {
                assert!(said.contains("…`") && said.chars().count() < 300, "{said}");
            }
        }
        assert_eq!(cut(&"ä".repeat(80)), "ä".repeat(80));
        assert_eq!(cut(&"ä".repeat(81)), format!("{}…", "ä".repeat(80)));
    }

    #[test]
    fn refuses_an_ipv4_suffix_longer_than_the_ipv6_suffix() {
        let refused = Pair::new(parse_ipv4("192.0.2.0/24").unwrap(), parse_ipv6("2001:db8::/124").unwrap());
        assert_eq!(
            refused.unwrap_err(),
            "IPv4 prefix 192.0.2.0/24 has 8 suffix bits, but IPv6 prefix 2001:db8::/124 leaves room for 4: \
             give an IPv6 prefix of /120 or shorter, or an IPv4 prefix of /28 or longer"
        );
    }

    #[test]
    fn refuses_comments_that_do_not_show_what_they_are() {
        for (comment, sentence) in [
            ("a\nb", "the comment contains U+000A, a line break or another control character: take it out"),
            ("a\u{9b}31m", "the comment contains U+009B, a line break or another control character: take it out"),
            ("web\u{202e}", "the comment contains U+202E, which cannot be seen: take it out"),
            ("\u{200b}", "the comment contains U+200B, which cannot be seen: take it out"),
            ("\u{2066}x\u{2069}", "the comment contains U+2066, which cannot be seen: take it out"),
            ("\u{e0041}", "the comment contains U+E0041, which cannot be seen: take it out"),
        ] {
            assert_eq!(check_comment(comment).unwrap_err(), sentence);
        }
        let said = check_comment(&"x".repeat(257)).unwrap_err();
        assert_eq!(said, "the comment has 257 bytes; 256 are allowed");
        for comment in ["", "Büro, 東京 (old) – שרת", "🖥 e\u{301}\u{a0}x"] {
            assert_eq!(check_comment(comment), Ok(()), "{comment}");
        }
    }

    #[test]
    fn shows_the_invisible_characters_of_older_comments() {
        let pair = Pair::new(parse_ipv4("192.0.2.1").unwrap(), parse_ipv6("2001:db8::1").unwrap()).unwrap();
        let entry = Entry { pair, comment: "a\u{202e}b\u{e0041}".into(), origin: Origin::Dynamic };
        assert_eq!(entry.to_string(), "192.0.2.1 ↔ 2001:db8::1 (“a\\u202eb\\udb40\\udc41”)");
        let json = serde_json::to_string(entry.comment.as_str()).unwrap();
        assert_eq!(serde_json::from_str::<String>(&visible(&json)).unwrap(), entry.comment);
        assert_eq!(visible("東京 שרת\n"), "東京 שרת\n");
    }

    #[test]
    fn refuses_addresses_that_no_packet_may_have() {
        for ipv4 in ["127.0.0.1", "224.0.0.0/24", "0.1.0.0/16", "255.255.255.255", "169.254.1.1"] {
            let refused = Pair::new(parse_ipv4(ipv4).unwrap(), parse_ipv6("2001:db8::/64").unwrap());
            assert!(refused.is_err_and(|text| text.contains("no packet may")), "{ipv4}");
        }
        for ipv6 in ["::", "::1", "fe80::/64", "ff02::1"] {
            let refused = Pair::new(parse_ipv4("192.0.2.1").unwrap(), parse_ipv6(ipv6).unwrap());
            assert!(refused.is_err_and(|text| text.contains("no packet may")), "{ipv6}");
        }
        assert!(Pair::new(parse_ipv4("0.0.0.0/0").unwrap(), parse_ipv6("2001:db8:ff00::/40").unwrap()).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_as_a_prefix_is_written_so(text in "[0-9a-f:./x ]{0,24}|[0-9]{1,3}(\\.[0-9]{1,3}){3}(/[0-9]{1,3})?|2001:db8:[0-9a-f:]{0,20}(/[0-9]{1,3})?") {
            if let Ok(net) = parse_ipv4(&text) {
                proptest::prop_assert_eq!(parse_ipv4(&net.to_string()), Ok(net));
                proptest::prop_assert_eq!(parse_ipv4(&short4(net)), Ok(net));
                proptest::prop_assert!(parse_ipv6(&text).is_err());
            }
            if let Ok(net) = parse_ipv6(&text) {
                proptest::prop_assert_eq!(parse_ipv6(&net.to_string()), Ok(net));
                proptest::prop_assert_eq!(parse_ipv6(&short6(net)), Ok(net));
            }
        }
    }
}
