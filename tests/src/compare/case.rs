//! A packet and what both relays sent for it, as a line of a file: they are recorded in a virtual machine and judged outside.

use anyhow::{Context as _, Result, bail};

use super::{outcome::Sent, rows};
use crate::{
    harness::world,
    reference::{checksum, hex},
};

/// One packet through both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Where the packet is from: a row of the conformance table by its name, `corpus 3`, `random 17`.
    pub name: String,
    /// The section that the row is about; empty without a row.
    pub section: String,
    /// The interface that it arrived by.
    pub arrives_by: String,
    /// From the IP header on.
    pub packet: Vec<u8>,
    /// What xlat sent.
    pub xlat: Vec<Sent>,
    /// What Jool sent; `None`: it was not given the packet ([`is_endless`]).
    pub jool: Option<Vec<Sent>>,
}

/// What stands for Jool's answer to a packet that it was not given.
const NOT_GIVEN: &str = "not given";

impl Case {
    /// The line: its fields with tabs between, packets in hexadecimal digits, each that was sent after the interface's name.
    #[must_use]
    pub fn line(&self) -> String {
        let sent = |all: &[Sent]| {
            let all: Vec<String> = all.iter().map(|sent| format!("{}:{}", sent.by, hex(&sent.packet))).collect();
            all.join(",")
        };
        let Self { name, section, arrives_by, packet, xlat, jool } = self;
        let jool = jool.as_ref().map_or_else(|| NOT_GIVEN.to_owned(), |jool| sent(jool));
        [name, section, arrives_by, &hex(packet), &sent(xlat), &jool].map(String::as_str).join("\t")
    }

    /// Reads such a line.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(line: &str) -> Result<Self> {
        let [name, section, arrives_by, packet, xlat, jool] = line.split('\t').collect::<Vec<_>>()[..] else {
            bail!("no case: {line}");
        };
        let [name, section, arrives_by] = [name, section, arrives_by].map(str::to_owned);
        let packet = rows::bytes(packet).with_context(|| format!("the packet of {name}"))?;
        let jool = if jool == NOT_GIVEN { None } else { Some(all_sent(jool)?) };
        Ok(Self { name, section, arrives_by, packet, xlat: all_sent(xlat)?, jool })
    }

    /// Whether it came as an IPv6 packet.
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.arrives_by.starts_with("v6")
    }
}

/// Whether Jool 4.1.9 would not get on after a packet.
#[must_use]
pub fn is_endless(packet: &[u8]) -> bool {
    let of = |at: usize| packet.get(at).copied().unwrap_or_default();
    let (mut at, end) = (20, usize::from(of(0) & 15) * 4);
    let header = packet.get(..end).unwrap_or_default();
    if of(0) >> 4 != 4 || checksum::compute(checksum::sum(header)) != 0 {
        return false;
    }
    while at < end {
        at += match of(at) {
            0 | 131 | 137 => return false,
            1 => 1,
            _ if of(at + 1) == 0 => return true,
            _ => usize::from(of(at + 1)),
        };
    }
    false
}

fn all_sent(text: &str) -> Result<Vec<Sent>> {
    let sent = |text: &str| {
        let (by, packet) = text.split_once(':').with_context(|| format!("no interface before {text}"))?;
        Ok(Sent { by: world::interface(by).name, packet: rows::bytes(packet)? })
    };
    text.split(',').filter(|text| !text.is_empty()).map(sent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notation::ip4;

    #[test]
    fn reads_the_line_that_it_writes() {
        let sent = vec![Sent { by: "v6", packet: vec![0x60, 1] }, Sent { by: "v4", packet: vec![0x45] }];
        let case = Case {
            name: "a row".to_owned(),
            section: "RFC 7915 4.1".to_owned(),
            arrives_by: "v4".to_owned(),
            packet: vec![0x45, 0],
            xlat: sent,
            jool: Some(Vec::new()),
        };
        assert_eq!(Case::parse(&case.line()).unwrap(), case);
        let case = Case { jool: None, ..case };
        assert_eq!(Case::parse(&case.line()).unwrap(), case);
    }

    #[test]
    fn knows_what_jool_does_not_come_back_from() {
        let with = |options: &[u8]| ip4("203.0.113.7", "198.51.100.10").options(options).udp(1, 2, b"x").bytes();
        assert!(is_endless(&with(&[7, 0, 4, 0])));
        assert!(is_endless(&with(&[1, 148, 4, 0, 0, 7, 0, 0])));
        assert!(!is_endless(&with(&[0, 7, 0, 0])));
        assert!(!is_endless(&with(&[7, 3, 4, 0])));
        assert!(!is_endless(&with(&[131, 0, 4, 0])));
        let mut packet = with(&[7, 0, 4, 0]);
        packet[10] ^= 1;
        assert!(!is_endless(&packet));
    }
}
