//! `xlat-ctl explain`

mod file;
mod words;

use std::{fs::OpenOptions, io::Write as _, path::PathBuf};

use clap::Args;

use self::words::Words;
use super::{
    Common, Failed, client,
    output::{self, Align, labelled},
    reason,
};
use crate::api::{self, Explained, Field, Step, WayOut};

#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    words: Words,
    /// The packet in hexadecimal digits, from its IP or Ethernet header on
    #[arg(long, value_name = "DIGITS", conflicts_with_all = ["protocol", "pcap"], help_heading = "The packet otherwise")]
    hex: Option<String>,
    /// The packet of a capture, pcap or pcapng
    #[arg(long, value_name = "FILE", conflicts_with = "protocol", help_heading = "The packet otherwise")]
    pcap: Option<PathBuf>,
    /// Which packet of the capture
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        requires = "pcap",
        conflicts_with = "hex",
        help_heading = "The packet otherwise"
    )]
    packet: usize,
    /// The interface that it arrives by [default: the attached one that the route back to its source leads to, else the first]
    #[arg(long = "in", value_name = "INTERFACE", help_heading = None)]
    interface: Option<String>,
}

/// What to do about a packet that is passed.
const PASSED: &str = "Nothing, if the machine is to route it. If it is to be translated: give the service an entry (`xlat-ctl eam \
    add`), or let the prefix alone suffice (`scope = \"all\"`). The relay's own addresses are never translated: a service's must \
    be on no interface of it. `xlat-ctl lookup` says of each address by which rule it maps.";

impl Explain {
    /// The packet, from its IP header on.
    fn packet(&self) -> Result<Vec<u8>, String> {
        match (&self.hex, &self.pcap) {
            (Some(text), _) => file::hexadecimal(text),
            (None, Some(path)) => file::packet(path, self.packet),
            (None, None) => self.words.packet(),
        }
    }

    /// Why the words of the call make no packet. Of a file nothing is said.
    pub(super) fn wrong_usage(&self) -> Option<String> {
        if self.pcap.is_some() { None } else { self.packet().err() }
    }
}

pub(super) fn explain(common: &Common, verb: &Explain) -> Result<(), Failed> {
    let packet = verb.packet().map_err(|text| format!("explain: {text}"))?;
    let question = api::Explain { packet: hex::encode(packet), interface: verb.interface.clone() };
    let answer = client::post::<Explained>(common, "/v1/explain", &question)?;
    answer.print(common, human);
    if answer.value.agrees {
        return Ok(());
    }
    let report =
        report(&answer.value).map_or_else(|error| error, |path| format!("the report is in {}", path.display()));
    let text = "the program and the rule book disagree: this is a bug of xlat, unless the way depends on more than the destination \
                (policy rules, VRFs, source-specific routes), of which the rule book knows nothing; please report it";
    Err(format!("{text}; {report}").into())
}

/// Writes what is needed to find the bug into a file; gives its name.
fn report(explained: &Explained) -> Result<PathBuf, String> {
    let path = std::env::temp_dir().join(format!("xlat-explain-{}.json", std::process::id()));
    let written = OpenOptions::new().write(true).create_new(true).open(&path);
    let written = written.and_then(|mut file| file.write_all(output::json(explained).as_bytes()));
    written.map_err(|error| format!("the report cannot be written to {}: {}", path.display(), crate::plain(&error)))?;
    Ok(path)
}

fn human(explained: &Explained) -> String {
    let mut text = labelled("arrives", &format!("by {}", explained.interface));
    text.push_str(&labelled("verdict", &verdict(explained)));
    if let Some(way) = &explained.way_out {
        text.push_str(&labelled("way out", &way_out(way)));
    }
    let program = &explained.program;
    let same = format!(
        "tag {}, loaded once more with the tables in force (tag {}): no counter of the relay has moved",
        program.tag, program.trial_tag
    );
    text.push_str(&labelled("program", &same));
    text.push_str("\nDecisions:\n");
    text.push_str(&steps(&explained.steps));
    text.push('\n');
    text.push_str(&fields(explained));
    if let Some(found) = &explained.reason {
        text.push('\n');
        text.push_str(&reason::paragraphs(found));
    }
    if explained.verdict == "passed" {
        text.push('\n');
        text.push_str(&labelled("do", PASSED));
    }
    if !explained.agrees {
        text.push_str("\nThe program and the rule book disagree:\n");
        explained.differences.iter().for_each(|difference| text.push_str(&format!("  {difference}\n")));
    }
    text
}

fn verdict(explained: &Explained) -> String {
    let words = match explained.verdict.as_str() {
        "transmitted" => "translated and sent out of the interface that it came in by",
        "redirected" => "translated and sent out of another interface",
        "to_kernel" => "translated and given to the kernel, which forwards it",
        "fragmented" => "given to the fragmenter; its pieces are translated",
        "dropped" if explained.answered => "not translated; the sender is told",
        "dropped" => "not translated",
        "passed" => "not translated: the kernel gets it as it came",
        _ => "",
    };
    let reason = explained.reason.as_ref().map_or_else(String::new, |reason| format!(", {}", reason.name));
    format!("{}{reason} ({}): {words}", explained.verdict, explained.action)
}

fn way_out(way: &WayOut) -> String {
    let mut parts = vec![way.interface.clone().unwrap_or_else(|| "no interface is known".to_owned())];
    match (&way.next_hop, &way.next_hop_mac) {
        (Some(hop), Some(mac)) => parts.push(format!("next hop {hop} ({mac})")),
        (Some(hop), None) | (None, Some(hop)) => parts.push(format!("next hop {hop}")),
        (None, None) => {}
    }
    parts.extend(way.mtu.map(|mtu| format!("MTU {mtu}")));
    parts.push(match way.by.as_str() {
        "remembered" => "as the next-hop cache remembers".to_owned(),
        "kernel" => "the kernel forwards it".to_owned(),
        _ => "by the routing table".to_owned(),
    });
    parts.join(", ")
}

fn steps(steps: &[Step]) -> String {
    let rows: Vec<Vec<String>> = steps
        .iter()
        .map(|step| {
            let by = step.by.as_ref().map_or_else(String::new, |by| format!("; setting: {by}"));
            vec![step.rule.clone(), step.source.clone(), format!("{}{by}", step.text)]
        })
        .collect();
    output::table(&[("RULE", Align::Left), ("SECTION", Align::Left), ("DECISION", Align::Left)], &rows)
}

fn fields(explained: &Explained) -> String {
    let after = if explained.answered { "ANSWER" } else { "AFTER" };
    let cell = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    if explained.result.is_none() {
        let rows: Vec<Vec<String>> =
            explained.fields.iter().map(|field| vec![field.name.clone(), cell(&field.before)]).collect();
        return output::table(&[("FIELD", Align::Left), ("PACKET", Align::Left)], &rows);
    }
    let row = |field: &Field| {
        let mark = if field.changed { "*" } else { "" };
        vec![mark.to_owned(), field.name.clone(), cell(&field.before), cell(&field.after)]
    };
    let rows: Vec<Vec<String>> = explained.fields.iter().map(row).collect();
    output::table(&[("", Align::Left), ("FIELD", Align::Left), ("BEFORE", Align::Left), (after, Align::Left)], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disagreement_is_printed_and_kept_in_a_file() {
        let explained = Explained {
            interface: "eth0".to_owned(),
            verdict: "redirected".to_owned(),
            action: "XDP_REDIRECT".to_owned(),
            reason: None,
            answered: false,
            steps: Vec::new(),
            fields: Vec::new(),
            way_out: None,
            program: api::Trial { tag: "1".to_owned(), trial_tag: "1".to_owned() },
            agrees: false,
            differences: vec!["hop limit: the rule book says 63, the program 62".to_owned()],
            packet: "45".to_owned(),
            result: Some("60".to_owned()),
        };
        assert!(human(&explained).contains("disagree:\n  hop limit: the rule book says 63, the program 62\n"));
        let path = report(&explained).unwrap();
        let kept: Explained = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(kept, explained);
    }
}
