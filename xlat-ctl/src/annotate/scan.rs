//! Finding addresses in text and replacing them.

use std::net::Ipv6Addr;

use memchr::memchr_iter;

use super::{
    Direction, Mapper,
    address::{self, Read},
};

/// Longest label before a colon that is looked at, and longest zone: nobody's interface has a longer name.
const LONGEST_WORD: usize = 64;

/// Replaces addresses in text.
pub struct Annotator {
    mapper: Mapper,
    direction: Direction,
    /// The replacement is put behind the address, in brackets, and not in its place.
    keep: bool,
}

/// An address found in text, and what stands around it. All places are offsets from the beginning of the text.
struct Found {
    /// Where the address begins and ends, with zone and label.
    start: usize,
    end: usize,
    /// It stands alone between `[` and `]`.
    bracketed: bool,
}

/// What follows an address.
enum Follows {
    /// A port after a dot or colon, white space, a mark, the end.
    Boundary { port: bool },
    /// `/` and a prefix length: a network and not an address.
    Network,
    /// What makes it no address.
    Word,
}

impl Annotator {
    /// With `keep`, an address stays and what it stands for follows in brackets.
    #[must_use]
    pub fn new(mapper: Mapper, direction: Direction, keep: bool) -> Self {
        Self { mapper, direction, keep }
    }

    /// Takes other rules from here on.
    pub fn set_mapper(&mut self, mapper: Mapper) {
        self.mapper = mapper;
    }

    /// Appends `text` to `out` with its addresses replaced. `text` neither begins nor ends inside an address.
    pub fn annotate(&self, text: &[u8], out: &mut Vec<u8>) {
        match self.direction {
            Direction::ToIpv4 => self.to_ipv4(text, out),
            Direction::ToIpv6 => self.to_ipv6(text, out),
        }
    }

    fn to_ipv4(&self, text: &[u8], out: &mut Vec<u8>) {
        let mut copied = 0;
        for colon in memchr_iter(b':', text) {
            if colon < copied {
                continue;
            }
            let Some(start) = self.start_of_ipv6(&text[..colon], copied) else { continue };
            let Some((ipv4, end)) = self.read_ipv6(&text[start..]) else { continue };
            let end = zone(text, start + end);
            let found = Found { start, end, bracketed: is_bracketed(text, start, end) };
            copied = self.put(text, copied, &found, out, |out| push_ipv4(ipv4, out));
        }
        out.extend_from_slice(&text[copied..]);
    }

    /// Where the address would begin that has its first colon after `before`; `None`: none that is translated.
    fn start_of_ipv6(&self, before: &[u8], floor: usize) -> Option<usize> {
        let (mut group, mut start) = (0_u16, before.len());
        while start > floor && before.len() - start < 4 {
            let Some(digit) = char::from(before[start - 1]).to_digit(16) else { break };
            group |= (digit as u16) << (4 * (before.len() - start));
            start -= 1;
        }
        (self.mapper.may_begin_with(group) && is_beginning(before, start)).then_some(start)
    }

    /// The IPv4 address for the IPv6 address at the beginning, and where that ends.
    fn read_ipv6(&self, text: &[u8]) -> Option<(u32, usize)> {
        let Read { value, len } = address::ipv6(text)?;
        if !matches!(follows(text, len, 128), Follows::Boundary { .. }) {
            return None;
        }
        let whole = self.mapper.to_ipv4(value);
        if let Some(ipv4) = whole.filter(|_| !self.mapper.has_suffix(value)) {
            return Some((ipv4, len));
        }
        // `2001:db8::1:443` may be an address with a port, as HAProxy writes it.
        self.without_port(&text[..len]).or_else(|| whole.map(|ipv4| (ipv4, len)))
    }

    fn without_port(&self, text: &[u8]) -> Option<(u32, usize)> {
        let colon = memchr::memrchr(b':', text)?;
        let (_, digits) = address::decimal(&text[colon + 1..], 5)?;
        let Read { value, len } = address::ipv6(&text[..colon]).filter(|_| colon + 1 + digits == text.len())?;
        let ipv4 = self.mapper.to_ipv4(value).filter(|_| len == colon && !self.mapper.has_suffix(value))?;
        Some((ipv4, len))
    }

    fn to_ipv6(&self, text: &[u8], out: &mut Vec<u8>) {
        let mut copied = 0;
        for dot in memchr_iter(b'.', text) {
            if dot < copied {
                continue;
            }
            let digits = text[copied..dot].iter().rev().take(4).take_while(|byte| byte.is_ascii_digit()).count();
            let start = dot - digits;
            if !(1..=3).contains(&digits) || !is_beginning(text, start) || is_version(text, start) {
                continue;
            }
            let Some(Read { value, len }) = address::ipv4(&text[start..]) else { continue };
            let end = start + len;
            let Follows::Boundary { port } = follows(text, end, 32) else { continue };
            let Some(ipv6) = self.mapper.to_ipv6(value) else { continue };
            let bracketed = is_bracketed(text, start, end);
            // A colon after an IPv6 address is read as a part of it.
            let needs_brackets =
                !bracketed && !self.keep && (port && text[end] == b':' || text[..start].ends_with(b"//"));
            let found = Found { start, end, bracketed: false };
            copied = self.put(text, copied, &found, out, |out| push_ipv6(ipv6, needs_brackets, out));
        }
        out.extend_from_slice(&text[copied..]);
    }

    /// Appends the text up to and with what was found; gives where the rest begins.
    fn put(
        &self,
        text: &[u8],
        copied: usize,
        found: &Found,
        out: &mut Vec<u8>,
        push: impl FnOnce(&mut Vec<u8>),
    ) -> usize {
        let Found { start, end, bracketed } = *found;
        if self.keep {
            out.extend_from_slice(&text[copied..end]);
            out.push(b'[');
            push(out);
            out.push(b']');
            return end;
        }
        let label = label_of(text, start);
        let (start, end) = if bracketed && needs_no_brackets(text, start - 1, end + 1) {
            (start - 1, end + 1)
        } else {
            (start - label, end)
        };
        out.extend_from_slice(&text[copied..start]);
        push(out);
        end
    }
}

/// Whether an address may begin at `start`: no word, number or other address reaches up to it. A label with a colon may
/// (`client:2001:db8::1`, `"client":…`, `access.log.1:…`, `grep`'s number of a line), where it is no part of an address, and a
/// terminal's colour.
fn is_beginning(text: &[u8], start: usize) -> bool {
    match text[..start].last() {
        None => true,
        Some(b':') => is_label(text, start - 1),
        Some(b'.' | b'_') => false,
        Some(byte) => !byte.is_ascii_alphanumeric() || is_colour(&text[..start]),
    }
}

/// Whether the text ends with what `grep --color` puts around a match: `ESC [`, digits and semicolons, `m` or `K` (ECMA-48 8.3.117,
/// 8.3.41).
fn is_colour(text: &[u8]) -> bool {
    let Some((b'm' | b'K', before)) = text.split_last() else { return false };
    let is_parameter = |byte: &&u8| byte.is_ascii_digit() || **byte == b';';
    let parameters = before.iter().rev().take(LONGEST_WORD).take_while(is_parameter).count();
    before[..before.len() - parameters].ends_with(b"\x1b[")
}

/// Whether what ends before the colon at `colon` is a label, and not the beginning of an address.
fn is_label(text: &[u8], colon: usize) -> bool {
    let word = word_before(text, colon);
    let begin = colon - word.len();
    match text[..begin].last() {
        // No address begins there.
        Some(b'.' | b'_') => true,
        Some(before) if word.is_empty() => *before != b':',
        Some(b'\n') | None if is_line_number(word) => true,
        // Of several files `grep` says the name, too.
        Some(b':') if is_line_number(word) => is_name(text, begin - 1),
        _ => is_no_group(word),
    }
}

/// Whether what ends before the colon at `colon` is a file's name, and not the beginning of an address.
fn is_name(text: &[u8], colon: usize) -> bool {
    let word = word_before(text, colon);
    is_no_group(word) || matches!(text[..colon - word.len()].last(), Some(b'.' | b'_')) && !word.is_empty()
}

/// Whether a word cannot be a group of an address.
fn is_no_group(word: &[u8]) -> bool {
    const LONGEST_GROUP: usize = 4;
    word.len() > LONGEST_GROUP || word.iter().any(|byte| !byte.is_ascii_hexdigit())
}

/// Global unicast addresses begin with 2000 to 3fff (RFC 4291 2.4).
fn is_line_number(word: &[u8]) -> bool {
    let is_of_address = matches!(word, [b'2' | b'3', _, _, _]);
    !word.is_empty() && word.iter().all(u8::is_ascii_digit) && !is_of_address
}

/// The letters and digits that end before `end`.
fn word_before(text: &[u8], end: usize) -> &[u8] {
    let len = text[..end].iter().rev().take(LONGEST_WORD).take_while(|byte| byte.is_ascii_alphanumeric()).count();
    &text[end - len..end]
}

/// `Name/1.2.3.4` is a program's version.
fn is_version(text: &[u8], start: usize) -> bool {
    matches!(text[..start], [.., before, b'/'] if before.is_ascii_alphanumeric())
}

/// What follows an address that ends at `end`; `longest` is the length that a prefix of its family can have.
fn follows(text: &[u8], end: usize, longest: u32) -> Follows {
    let ends = |at: usize| !text.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let goes_on = |at: usize| matches!(text[at..], [b'.', next, ..] if next.is_ascii_digit());
    let port = |at: usize| {
        let number = address::decimal(&text[at..], 5).filter(|(port, _)| *port < 65536);
        number.is_some_and(|(_, len)| ends(at + len) && !goes_on(at + len))
    };
    match text.get(end..).unwrap_or_default() {
        [b'.', next, ..] if next.is_ascii_digit() => {
            if port(end + 1) {
                Follows::Boundary { port: true }
            } else {
                Follows::Word
            }
        }
        [b'.', next, ..] if next.is_ascii_alphabetic() && longest == 32 => Follows::Word,
        [b':', next, ..] if next.is_ascii_alphanumeric() => {
            let rest = &text[end + 1..];
            let word = rest.iter().take(LONGEST_WORD).take_while(|byte| byte.is_ascii_alphanumeric());
            if port(end + 1) {
                Follows::Boundary { port: true }
            } else if word.clone().any(|byte| !byte.is_ascii_hexdigit()) {
                Follows::Boundary { port: false }
            } else {
                Follows::Word
            }
        }
        [b'/', rest @ ..] => match address::decimal(rest, 3) {
            Some((len, digits)) if len <= longest && ends(end + 1 + digits) => Follows::Network,
            _ => Follows::Boundary { port: false },
        },
        [byte, ..] if byte.is_ascii_alphanumeric() || *byte == b'_' => Follows::Word,
        _ => Follows::Boundary { port: false },
    }
}

/// Where the zone ends (RFC 4007 11) that begins at `end`; a full stop at its end is the sentence's. What looks like a byte of a URL
/// (`%20`) is none, but for the percent sign that a zone in a URL begins with (`%25eth0`, RFC 6874).
fn zone(text: &[u8], end: usize) -> usize {
    let is_escape = match text.get(end..).unwrap_or_default() {
        [b'%', b'2', b'5', zone, ..] => !zone.is_ascii_alphanumeric(),
        [b'%', one, two, ..] => one.is_ascii_hexdigit() && two.is_ascii_hexdigit(),
        [b'%', ..] => false,
        _ => return end,
    };
    if is_escape {
        return end;
    }
    let is_zone = |byte: &&u8| byte.is_ascii_alphanumeric() || b"._-".contains(*byte);
    let mut len = text[end + 1..].iter().take(LONGEST_WORD).take_while(is_zone).count();
    while len > 0 && text[end + len] == b'.' {
        len -= 1;
    }
    if len == 0 { end } else { end + 1 + len }
}

/// The length of `IPv6:` before an address, which mail systems write in brackets (RFC 5321 4.1.3) and which goes with it.
fn label_of(text: &[u8], start: usize) -> usize {
    const LABEL: &[u8] = b"IPv6:";
    let before = &text[..start];
    let is_label = before.len() >= LABEL.len() && before[before.len() - LABEL.len()..].eq_ignore_ascii_case(LABEL);
    if is_label { LABEL.len() } else { 0 }
}

fn is_bracketed(text: &[u8], start: usize, end: usize) -> bool {
    text[..start].last() == Some(&b'[') && text.get(end) == Some(&b']')
}

/// Whether brackets from `open` to before `close` are there for the colons of IPv6 alone: before a port and in a URL, but
/// not after a name, as mail systems write it (`unknown[2001:db8::1]:25`).
fn needs_no_brackets(text: &[u8], open: usize, close: usize) -> bool {
    let before = &text[..open];
    let after_name = before.last().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80);
    let has_port = matches!(text[close..], [b':', digit, ..] if digit.is_ascii_digit());
    !after_name && (has_port || before.ends_with(b"//"))
}

fn push_ipv4(ipv4: u32, out: &mut Vec<u8>) {
    for (index, part) in ipv4.to_be_bytes().into_iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        if part >= 100 {
            out.push(b'0' + part / 100);
        }
        if part >= 10 {
            out.push(b'0' + part / 10 % 10);
        }
        out.push(b'0' + part % 10);
    }
}

fn push_ipv6(ipv6: u128, brackets: bool, out: &mut Vec<u8>) {
    let address = Ipv6Addr::from_bits(ipv6);
    let text = if brackets { format!("[{address}]") } else { address.to_string() };
    out.extend_from_slice(text.as_bytes());
}
