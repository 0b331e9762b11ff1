//! `xlat-ctl annotate`

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Args;
use ipnet::Ipv6Net;
use rustc_hash::FxHashMap;

use super::{Common, Failed, client, output};
use crate::{
    annotate::{Annotator, Direction, Mapper, copy},
    api::{EamList, Status, TableStatus},
    config::{self, Config},
    eam::{self, Pair},
    eam_file::{self, FileError, Format, Line},
};

/// How often it is asked whether the daemon's table has changed, at most.
const REFRESH: Duration = Duration::from_secs(10);
/// A daemon that has not answered in this time meanwhile keeps the log waiting no longer.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct Annotate {
    /// The configuration with the translation prefixes
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// A translation prefix, instead of a configuration; may be given several times
    #[arg(long, value_name = "PREFIX", conflicts_with = "config", value_parser = prefix)]
    prefix: Vec<Ipv6Net>,
    /// A table of EAMs (CSV, JSON or TOML, as `eam export` writes it), instead of the daemon's
    #[arg(long, value_name = "FILE")]
    eams: Option<PathBuf>,
    /// Replace IPv4 addresses by the IPv6 addresses that servers see
    #[arg(long)]
    reverse: bool,
    /// Leave each address and put what it stands for behind it, in brackets
    #[arg(long)]
    keep: bool,
}

fn prefix(text: &str) -> Result<Ipv6Net, String> {
    config::translation_prefix(text).map_err(|error| format!("{error}; give one such as 2001:db8:6464::/96"))
}

pub(super) fn annotate(common: &Common, annotate: &Annotate) -> Result<(), Failed> {
    let config = annotate.config()?;
    let mut daemon = annotate.daemon(common, &config)?;
    let mapper = annotate.mapper(config.clone(), daemon.as_ref())?;
    let direction = if annotate.reverse { Direction::ToIpv6 } else { Direction::ToIpv4 };
    let mut annotator = Annotator::new(mapper, direction, annotate.keep);
    let refresh = |annotator: &mut Annotator| {
        if let Some(list) = daemon.as_mut().and_then(Daemon::refresh) {
            annotator.set_mapper(Mapper::new(config.clone(), list.pairs()));
        }
    };
    copy(io::stdin().lock(), io::stdout().lock(), &mut annotator, refresh).map_err(|error| match error.kind() {
        // Whoever reads has enough (`| head`).
        io::ErrorKind::BrokenPipe => Failed { message: None, answer: None },
        _ => Failed::from(format!(
            "annotate: reading standard input or writing standard output: {}",
            crate::plain(&error)
        )),
    })
}

impl Annotate {
    /// The configuration: the file's, or one that has nothing but the prefixes that were given.
    fn config(&self) -> Result<Config, Failed> {
        if self.prefix.is_empty() {
            let read = config::load(&self.config);
            return Ok(read.map_err(|error| format!("{error}; --prefix takes a translation prefix instead"))?.config);
        }
        let prefixes: Vec<String> = self.prefix.iter().map(|prefix| format!("\"{prefix}\"")).collect();
        let text = format!("[dataplane]\ninterfaces = [\"*\"]\n[translation]\nprefixes = [{}]\n", prefixes.join(", "));
        let checked = config::parse(&text).map_err(|problems| {
            let texts: Vec<&str> = problems.iter().map(|problem| problem.text.as_str()).collect();
            format!("annotate --prefix: {}", texts.join("; "))
        })?;
        Ok(checked.config)
    }

    /// The daemon, where its table is to be used. One that was named has to answer; another may come later.
    fn daemon(&self, common: &Common, config: &Config) -> Result<Option<Daemon>, Failed> {
        if self.eams.is_some() || (!self.prefix.is_empty() && common.socket.is_none()) {
            return Ok(None);
        }
        let socket = common.socket.clone().unwrap_or_else(|| config.control.socket.clone());
        let is_there = socket.exists();
        let mut daemon =
            Daemon { common: Common { socket: Some(socket), json: false }, known: None, asked: Instant::now() };
        match daemon.ask() {
            Ok(()) => {}
            Err(failed) if common.socket.is_some() => return Err(failed),
            Err(failed) => {
                if let Some(message) = failed.message.filter(|_| is_there) {
                    output::complain(&format!("warning: only the configuration's EAMs are known as yet: {message}"));
                }
            }
        }
        Ok(Some(daemon))
    }

    fn mapper(&self, config: Config, daemon: Option<&Daemon>) -> Result<Mapper, Failed> {
        if let Some(file) = &self.eams {
            return Ok(Mapper::new(config, read_eams(file)?.into_iter()));
        }
        if let Some((list, _)) = daemon.and_then(|daemon| daemon.known.as_ref()) {
            return Ok(Mapper::new(config, list.pairs()));
        }
        let pairs: Vec<Pair> = config.eams.iter().map(|entry| entry.pair).collect();
        Ok(Mapper::new(config, pairs.into_iter()))
    }
}

fn read_eams(file: &Path) -> Result<Vec<Pair>, String> {
    let failed = |text: String| format!("annotate --eams {}: {text}", file.display());
    let bytes = fs::read(file).map_err(|error| failed(crate::plain(&error)))?;
    let lines = eam_file::parse(&bytes, Format::of_name(file)).map_err(|error| match error {
        FileError::Empty(_) => {
            failed("the file has no entries: give what `xlat-ctl eam export` has written".to_owned())
        }
        error @ FileError::At { .. } => failed(error.to_string()),
    })?;
    each_once(&lines).map_err(failed)?;
    Ok(lines.iter().map(|line| line.pair).collect())
}

/// No relay has two entries with one prefix: which of them counts is not guessed.
fn each_once(lines: &[Line]) -> Result<(), String> {
    let (mut by_ipv4, mut by_ipv6) = (FxHashMap::default(), FxHashMap::default());
    for Line { number, pair, .. } in lines {
        let before = by_ipv4.insert(pair.ipv4(), number).map(|before| (eam::short4(pair.ipv4()), before));
        let before = by_ipv6.insert(pair.ipv6(), number).map(|before| (eam::short6(pair.ipv6()), before)).or(before);
        if let Some((prefix, before)) = before {
            return Err(format!("line {number}: line {before} has the prefix {prefix}, too: take one of them out"));
        }
    }
    Ok(())
}

/// A daemon.
struct Daemon {
    common: Common,
    /// The table that it had when it was last asked, and what its status said of that. `None`: it has not answered yet.
    known: Option<(EamList, TableStatus)>,
    asked: Instant,
}

impl Daemon {
    fn ask(&mut self) -> Result<(), Failed> {
        let table = client::get_within::<Status>(&self.common, "/v1/status", PATIENCE)?.value.table;
        self.known = Some((client::get(&self.common, "/v1/eam")?.value, table));
        Ok(())
    }

    /// Takes its table where that has changed, or where it answers for the first time, at most once in [`REFRESH`]; gives it then.
    /// Without an answer the table stays as it was known.
    fn refresh(&mut self) -> Option<&EamList> {
        if self.asked.elapsed() < REFRESH {
            return None;
        }
        self.asked = Instant::now();
        let status = client::get_within::<Status>(&self.common, "/v1/status", PATIENCE).ok()?;
        if self.known.as_ref().is_some_and(|(_, table)| *table == status.value.table) {
            return None;
        }
        let list = client::get(&self.common, "/v1/eam").ok()?;
        Some(&self.known.insert((list.value, status.value.table)).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_that_is_none_is_told_with_an_example() {
        assert_eq!(prefix("2001:db8:6464::/96").unwrap().to_string(), "2001:db8:6464::/96");
        for (text, sentence) in [
            ("x", "`x` is not an IPv6 address or prefix (examples: 2001:db8::1, 2001:db8::/64)"),
            ("192.0.2.0/24", "`192.0.2.0/24` is an IPv4 address; an IPv6 address or prefix belongs here"),
            (
                "2001:db8::1",
                "2001:db8::1/128: a translation prefix has the length 32, 40, 48, 56, 64 or 96, not 128 (RFC 6052 section 2.2)",
            ),
            (
                "2001:db8::/33",
                "2001:db8::/33: a translation prefix has the length 32, 40, 48, 56, 64 or 96, not 33 (RFC 6052 section 2.2)",
            ),
        ] {
            assert_eq!(prefix(text).unwrap_err(), format!("{sentence}; give one such as 2001:db8:6464::/96"));
        }
    }

    #[test]
    fn a_table_that_is_only_read_is_not_told_how_to_delete_entries() {
        let read = |text: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), text).unwrap();
            let read = read_eams(file.path());
            read.map_err(|said| said.replace(&file.path().display().to_string(), "FILE"))
        };
        for (text, sentence) in [
            ("# x\n", "the file has no entries: give what `xlat-ctl eam export` has written"),
            ("192.0.2.1,::1\n", "line 1: ::1 is loopback (::1): no packet may come from or go to it"),
            (
                "192.0.2.1,2001:db8::1\n\n192.0.2.1,2001:db8::2\n",
                "line 3: line 1 has the prefix 192.0.2.1, too: take one of them out",
            ),
            (
                "192.0.2.0/28,2001:db8::/124\n192.0.2.16/28,2001:db8::/124\n",
                "line 2: line 1 has the prefix 2001:db8::/124, too: take one of them out",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), format!("annotate --eams FILE: {sentence}"));
        }
        assert!(read("ipv4,ipv6\n").unwrap().is_empty());
        assert_eq!(read("192.0.2.1,2001:db8::1\n192.0.2.0/28,2001:db8::/124\n").unwrap().len(), 2);
    }
}
