//! `xlat-ctl annotate`

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Args;
use ipnet::Ipv6Net;

use super::{Common, Failed, client, output};
use crate::{
    annotate::{Annotator, Direction, Mapper, copy},
    api::{EamList, Status, TableStatus},
    config::{self, Config},
    eam::Pair,
    eam_file::{self, Format},
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
    #[arg(long, value_name = "PREFIX", conflicts_with = "config")]
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
    let lines = eam_file::parse(&bytes, Format::of_name(file)).map_err(|error| failed(error.to_string()))?;
    Ok(lines.iter().map(|line| line.pair).collect())
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
        let table = client::get::<Status>(&self.common, "/v1/status")?.value.table;
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
