//! What the program did beside what the rule book says. Every difference is a bug of one of them.

use xlat_common::{
    counters::{Counters, Direction, Protocol, Verdict},
    reason::DropReason,
};

use super::{
    book::{Answer, Expected, Outcome, sum},
    decode,
    headers::{Chain, Header4, Header6, u16_at, u32_at},
};

/// What the program did with the one packet.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) verdict: Verdict,
    pub(super) reason: Option<DropReason>,
    /// Whether the sender was told.
    pub(super) answered: bool,
    /// Whether the setting or its rate kept that back.
    pub(super) suppressed: bool,
    /// Whether the kernel gets the packet by way of the fragmenter.
    pub(super) detour: bool,
    /// From the IP header on.
    pub(super) packet: Vec<u8>,
}

impl Done {
    /// By what the run has counted. `redirected`: the XDP action was a redirect.
    pub(super) fn new(counters: &Counters, redirected: bool, packet: Vec<u8>) -> Self {
        let counted = |verdict| {
            let cells = Direction::ALL.into_iter().flat_map(|d| Protocol::ALL.map(|p| (d, p)));
            cells.map(|(d, p)| counters.traffic(d, p, verdict).packets).sum::<u64>() > 0
        };
        let verdict = Verdict::ALL.into_iter().find(|verdict| counted(*verdict)).unwrap_or(Verdict::Passed);
        Self {
            verdict,
            reason: DropReason::ALL.iter().copied().find(|reason| counters.drops(*reason) > 0),
            answered: counters.errors_sent > 0,
            suppressed: counters.errors_suppressed > 0,
            detour: verdict == Verdict::ToKernel && redirected,
            packet,
        }
    }

    fn text(&self) -> String {
        match self.reason {
            Some(reason) => format!("dropped, {}", reason.name()),
            None => self.verdict.name().to_owned(),
        }
    }

    fn is_translated(&self) -> bool {
        matches!(self.verdict, Verdict::Transmitted | Verdict::Redirected | Verdict::ToKernel)
    }
}

/// Where the two differ.
pub(super) fn differences(before: &[u8], outcome: &Outcome, done: &Done) -> Vec<String> {
    let differs = |said: &str| vec![format!("the rule book says: {said}; the program's verdict is: {}", done.text())];
    match outcome {
        Outcome::Passed if done.verdict == Verdict::Passed => {
            if done.packet == before {
                Vec::new()
            } else {
                vec!["a packet that is passed was changed".to_owned()]
            }
        }
        Outcome::Passed => differs("passed"),
        Outcome::Fragmented if done.verdict == Verdict::Fragmented => Vec::new(),
        Outcome::Fragmented => differs("fragmented"),
        Outcome::Dropped(reason, answer) if done.reason == Some(*reason) => told(before, *answer, done),
        Outcome::Dropped(reason, _) => differs(&format!("dropped, {}", reason.name())),
        Outcome::Translated(expected) if done.is_translated() => bytes(expected, done),
        Outcome::Translated(_) => differs("translated"),
    }
}

/// Whether the sender was told what it should be.
fn told(before: &[u8], answer: Option<Answer>, done: &Done) -> Vec<String> {
    match (answer, done.answered) {
        // Not every packet may be answered, nor every time.
        (_, false) => Vec::new(),
        (None, true) => vec!["the rule book drops it in silence, the program answers".to_owned()],
        (Some(answer), true) => {
            let at = if before.first().is_some_and(|first| first >> 4 == 4) { 20 } else { 40 };
            let expected = u32::from(answer.kind) << 8 | u32::from(answer.code);
            let there = (u16_at(&done.packet, at).map(u32::from), u32_at(&done.packet, at + 4));
            if there == (Some(expected), Some(answer.rest)) {
                return Vec::new();
            }
            vec![format!(
                "the sender should be told type and code {expected:#06x} with {}, and is told {there:x?}",
                answer.rest
            )]
        }
    }
}

fn bytes(expected: &Expected, done: &Done) -> Vec<String> {
    let mut packet = expected.packet.clone();
    let is_ipv4 = packet.first().is_some_and(|first| first >> 4 == 4);
    let hop_limit = if is_ipv4 { 8 } else { 7 };
    // Where the kernel forwards the packet it takes one from the hop limit, and on the detour another.
    let more = match (done.verdict, done.detour) {
        (_, true) => 2,
        (Verdict::ToKernel, false) => 1,
        _ => 0,
    };
    packet[hop_limit] = packet[hop_limit].saturating_add(more);
    if !expected.checksum
        && let Some(at) = upper_layer(&packet)
        && let Some(there) = done.packet.get(at + 2..at + 4)
    {
        packet[at + 2..at + 4].copy_from_slice(there);
    }
    if is_ipv4 {
        if expected.any_identification
            && let Some(there) = done.packet.get(4..6)
        {
            packet[4..6].copy_from_slice(there);
        }
        packet[10..12].fill(0);
        let checksum = sum(&packet[..20]).checksum();
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
    if packet[..expected.foretold] == done.packet[..expected.foretold.min(done.packet.len())]
        && (expected.foretold < packet.len() || done.packet.len() == packet.len())
    {
        return Vec::new();
    }
    let fields = decode::beside(&packet, Some(&done.packet));
    let differing = fields.into_iter().filter(|field| field.changed).map(|field| {
        let text = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
        format!("{}: the rule book says {}, the program {}", field.name, text(field.before), text(field.after))
    });
    let mut all: Vec<String> = differing.collect();
    if all.is_empty() {
        let at = packet.iter().zip(&done.packet).position(|(one, other)| one != other).unwrap_or(packet.len());
        all.push(format!("the packets differ at byte {at}"));
    }
    all
}

/// Where the upper layer begins.
fn upper_layer(packet: &[u8]) -> Option<usize> {
    if let Some(header) = Header4::read(packet).filter(|header| header.version == 4) {
        return Some(header.header_len);
    }
    let header = Header6::read(packet)?;
    Chain::follow(packet, header.next_header, header.end(), true).ok().map(|chain| chain.offset)
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    fn translated(hop_limit: u8) -> Vec<u8> {
        let mut packet = Vec::new();
        let builder = PacketBuilder::ipv4([198, 51, 100, 10], [203, 0, 113, 7], hop_limit).udp(53, 4711);
        builder.write(&mut packet, b"answer").unwrap();
        packet
    }

    fn expected() -> Outcome {
        let packet = translated(63);
        Outcome::Translated(Expected { foretold: packet.len(), packet, any_identification: true, checksum: true })
    }

    fn done(verdict: Verdict, packet: Vec<u8>) -> Done {
        Done { verdict, reason: None, answered: false, suppressed: false, detour: false, packet }
    }

    #[test]
    fn agrees_with_what_is_right_whoever_takes_from_the_hop_limit() {
        for (verdict, hop_limit) in [(Verdict::Redirected, 63), (Verdict::Transmitted, 63), (Verdict::ToKernel, 64)] {
            assert_eq!(differences(&[0x60], &expected(), &done(verdict, translated(hop_limit))), Vec::<String>::new());
        }
        let detour = Done { detour: true, ..done(Verdict::ToKernel, translated(65)) };
        assert_eq!(differences(&[0x60], &expected(), &detour), Vec::<String>::new());
        assert_eq!(differences(&[0x60], &Outcome::Passed, &done(Verdict::Passed, vec![0x60])), Vec::<String>::new());
    }

    #[test]
    fn names_the_field_that_differs() {
        let found = differences(&[0x60], &expected(), &done(Verdict::Redirected, translated(62)));
        assert!(found.contains(&"hop limit: the rule book says 63, the program 62".to_owned()), "{found:?}");
        let mut damaged = translated(63);
        *damaged.last_mut().unwrap() ^= 1;
        let found = differences(&[0x60], &expected(), &done(Verdict::Redirected, damaged));
        assert!(found[0].starts_with("checksum: the rule book says") && found[0].ends_with("wrong"), "{found:?}");
        let mut longer = translated(63);
        longer.push(0);
        assert_eq!(differences(&[0x60], &expected(), &done(Verdict::Redirected, longer)).len(), 1);
    }

    #[test]
    fn tells_another_verdict_and_another_answer() {
        let dropped = Done { reason: Some(DropReason::Igmp), ..done(Verdict::Dropped, Vec::new()) };
        let found = differences(&[0x60], &expected(), &dropped);
        assert_eq!(found, ["the rule book says: translated; the program's verdict is: dropped, igmp"]);
        let answer = Some(Answer { kind: 11, code: 0, rest: 0 });
        let mut reply = translated(64);
        reply[20..28].copy_from_slice(&[11, 0, 0, 0, 0, 0, 0, 0]);
        let told = Done { reason: Some(DropReason::HopLimitExceeded), answered: true, ..done(Verdict::Dropped, reply) };
        let refused = |answer| Outcome::Dropped(DropReason::HopLimitExceeded, answer);
        assert_eq!(differences(&[0x45], &refused(answer), &told), Vec::<String>::new());
        assert_eq!(differences(&[0x45], &refused(None), &told).len(), 1);
        assert_eq!(differences(&[0x45], &refused(Some(Answer { kind: 3, code: 0, rest: 0 })), &told).len(), 1);
        let changed = done(Verdict::Passed, vec![0x61]);
        assert_eq!(differences(&[0x60], &Outcome::Passed, &changed), ["a packet that is passed was changed"]);
    }
}
