//! `xlat-ctl capture`

mod pcapng;
mod stream;
mod text;

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    net::IpAddr,
    path::{Path, PathBuf},
};

use clap::Args;
use ipnet::IpNet;
use xlat_common::reason::DropReason;

use self::pcapng::PcapNg;
use super::{
    Common, Failed,
    client::escaped,
    output::{self, count},
};
use crate::capture::{DURATION, Line, Packet, Progress, Query, RATE, SNAPLEN};

/// The end of `xlat-ctl capture --help`.
pub(super) const HELP: &str = "Without -w, two lines for each packet: as it arrived, and what became of it. All conditions hold \
    together. While a capture runs, a program of its own stands on the interfaces that has the relay's translate each packet and \
    shows what came of it; it goes with the last capture. Four captures can run at a time. A capture ends after --count packets, \
    after --duration seconds, or when this command does.\n\n\
    With --json, a line of JSON for each packet, as the daemon sends it.\n\n\
    Examples:\n  \
    xlat-ctl capture --host 198.51.100.10 --count 10\n  \
    xlat-ctl capture --drops --reason hop_limit_exceeded,packet_too_big\n  \
    xlat-ctl capture --in eth0 --duration 60 -w packets.pcapng\n  \
    xlat-ctl capture --host 2001:db8:5e1:1::10 -w - | tshark -r -";

#[derive(Debug, Args)]
pub(super) struct Capture {
    /// Only packets that arrive at this interface
    #[arg(long = "in", value_name = "IFACE")]
    interface: Option<String>,
    /// Only packets from or to this address or prefix, in either family, before or after translation
    #[arg(long, value_name = "ADDR[/LEN]", value_parser = host)]
    host: Option<String>,
    /// Only packets that are dropped
    #[arg(long)]
    drops: bool,
    /// Only packets that are dropped for this reason, or one of these
    #[arg(long, value_name = "REASON", value_delimiter = ',', value_parser = reason)]
    reason: Vec<String>,
    /// End after so many packets
    #[arg(long, short = 'c', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = Query::default().duration,
        value_parser = clap::value_parser!(u64).range(DURATION))]
    duration: u64,
    /// Bytes kept of each frame
    #[arg(long, short = 's', value_name = "BYTES", default_value_t = Query::default().snaplen,
        value_parser = clap::value_parser!(u32).range(i64::from(*SNAPLEN.start())..=i64::from(*SNAPLEN.end())))]
    snaplen: u32,
    /// Show at most so many packets a second; the others are counted
    #[arg(long, value_name = "N", default_value_t = Query::default().rate,
        value_parser = clap::value_parser!(u32).range(i64::from(*RATE.start())..=i64::from(*RATE.end())))]
    rate: u32,
    /// Write the packets to a file in the pcapng format, each with a comment; - is standard output
    #[arg(short = 'w', long = "write", value_name = "FILE", conflicts_with = "json")]
    file: Option<PathBuf>,
}

fn host(text: &str) -> Result<String, String> {
    let is_host = text.parse::<IpNet>().is_ok() || text.parse::<IpAddr>().is_ok();
    let wrong = || format!("host {text} is not an address or a prefix, such as 198.51.100.10 or 2001:db8:5e1::/64");
    is_host.then(|| text.to_owned()).ok_or_else(wrong)
}

fn reason(name: &str) -> Result<String, String> {
    let wrong = || format!("there is no reason {name}: `xlat-ctl reason` lists them");
    DropReason::from_name(name).map(|_| name.to_owned()).ok_or_else(wrong)
}

impl Capture {
    fn path(&self) -> String {
        let mut path = format!("/v1/capture?duration={}&snaplen={}&rate={}", self.duration, self.snaplen, self.rate);
        let texts = [("in", self.interface.clone()), ("host", self.host.clone()), ("reason", self.reasons())];
        let numbers = [("count", self.count.map(|count| count.to_string()))];
        for (name, value) in texts.into_iter().chain(numbers) {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", escaped(&value)));
            }
        }
        if self.drops {
            path.push_str("&drops=true");
        }
        path
    }

    fn reasons(&self) -> Option<String> {
        (!self.reason.is_empty()).then(|| self.reason.join(","))
    }
}

pub(super) fn capture(common: &Common, capture: &Capture) -> Result<(), Failed> {
    let mut output = match capture.file.as_deref() {
        Some(file) => Output::NoFile { file: file.to_owned(), snaplen: capture.snaplen },
        None if common.json => Output::Json,
        None => Output::Text,
    };
    let mut last = Progress::default();
    let (mut failed, mut cut_off) = (None, None);
    let each = |line: &Line, text: &str| match handle(&mut output, &mut last, line, text) {
        Ok(end) => {
            if let Line::End(end) = line
                && !end.complete
            {
                cut_off = Some(end.reason.clone());
            }
            end
        }
        Err(error) => {
            failed = Some(error);
            true
        }
    };
    let ended = stream::follow(common, &capture.path(), each);
    if let Output::File(pcapng) = &mut output {
        let finished = pcapng.finish(&last);
        failed = failed.or(finished.err());
    }
    if let (Some(error), Some(file)) = (failed, capture.file.as_deref()) {
        return Err(unwritten(file, &error).into());
    }
    ended?;
    output::complain(&summary(&last));
    match cut_off {
        None => Ok(()),
        Some(reason) => Err(format!("capture: it was cut off: {reason}").into()),
    }
}

/// Where the packets go.
enum Output {
    Text,
    Json,
    /// Before the daemon has agreed: what is in the file stays there.
    NoFile {
        file: PathBuf,
        snaplen: u32,
    },
    File(PcapNg<Box<dyn Write>>),
}

/// Gives what the daemon has sent to the reader. `Ok(true)`: that was the end.
fn handle(output: &mut Output, last: &mut Progress, line: &Line, text: &str) -> io::Result<bool> {
    if let Output::Json = output {
        output::print(text);
    }
    if let (Output::NoFile { file, snaplen }, Line::Begin(_)) = (&output, line) {
        *output = Output::File(PcapNg::new(writer(file)?, *snaplen)?);
    }
    match line {
        Line::Begin(begin) => output::complain(&format!("capturing on {}", begin.interfaces.join(", "))),
        Line::Packet(packet) => {
            last.shown = packet.number;
            show(output, packet)?;
        }
        Line::Progress(progress) => {
            *last = *progress;
            // The header, where no packet has come yet.
            if let Output::File(pcapng) = output {
                pcapng.flush()?;
            }
        }
        Line::End(end) => {
            *last = end.progress;
            output::complain(&format!("the capture has ended: {}", end.reason));
        }
    }
    Ok(matches!(line, Line::End(_)))
}

fn show(output: &mut Output, packet: &Packet) -> io::Result<()> {
    match output {
        Output::Text => output::print(&text::lines(packet)),
        Output::Json | Output::NoFile { .. } => {}
        Output::File(pcapng) => {
            pcapng.write(packet)?;
            // Whoever reads the file meanwhile, or after a kill, finds whole blocks.
            pcapng.flush()?;
        }
    }
    Ok(())
}

/// What was captured and what was not, in the manner of tcpdump.
fn summary(progress: &Progress) -> String {
    let packets = |number: u64| count(usize::try_from(number).unwrap_or(usize::MAX), "packet", "packets");
    format!(
        "{} captured, {} matched the filter, {} over the rate, {} lost for want of room",
        packets(progress.shown),
        packets(progress.matched.max(progress.shown)),
        packets(progress.over_rate),
        packets(progress.lost)
    )
}

/// Room for the blocks of a pair of packets, each of 64 KiB at most: what is more would be written before its block is whole.
const BLOCKS: usize = 256 * 1024;

fn writer(file: &Path) -> io::Result<Box<dyn Write>> {
    if file == Path::new("-") {
        return Ok(Box::new(BufWriter::with_capacity(BLOCKS, io::stdout())));
    }
    Ok(Box::new(BufWriter::with_capacity(BLOCKS, File::create(file)?)))
}

fn unwritten(file: &Path, error: &io::Error) -> String {
    format!("capture -w {}: cannot write the file: {}", file.display(), crate::plain(error))
}
