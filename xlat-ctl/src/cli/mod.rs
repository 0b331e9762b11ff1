//! The `xlat-ctl` command. Every verb but `run`, `annotate`, `check`, `doctor`, `detach`, `import`, `prepare`, `reason` and `state`
//! is one call to the daemon.

mod annotate;
mod capture;
mod check;
mod client;
mod detach;
mod doctor;
mod eam;
mod explain;
mod import;
mod lookup;
mod output;
mod prepare;
mod reason;
mod share;
mod state;
mod stats;
mod status;
mod top;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory, Parser, Subcommand, error::ErrorKind};

use crate::{api, config, daemon};

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "xlat-ctl",
    version,
    about = "SIIT-DC IPv4/IPv6 translation in XDP: the daemon, and the command that talks with it",
    after_help = "Exit codes: 0 done, 1 refused or failed, 2 wrong usage.\n\n\
        Examples:\n  \
        xlat-ctl check --config ./xlat.toml\n  \
        xlat-ctl eam add 198.51.100.10 2001:db8:5e1:1::10 --comment www\n  \
        xlat-ctl lookup 198.51.100.10\n  \
        xlat-ctl top\n  \
        xlat-ctl capture --host 198.51.100.10 --count 10"
)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb takes.
#[derive(Clone, Debug, Args)]
struct Common {
    /// Control socket of the daemon [default: /run/xlat/xlat.sock; for `run`, the configuration's]
    #[arg(long, global = true, env = "XLAT_SOCKET", value_name = "PATH", hide_env_values = true)]
    socket: Option<PathBuf>,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the daemon in the foreground
    #[command(
        after_help = "Logs to standard error; XLAT_LOG=debug says more. SIGTERM and SIGINT stop it, SIGUSR1 stops it \
        for a restart, SIGHUP reloads the configuration.\n\n\
        Example:\n  xlat-ctl run --config /etc/xlat/xlat.toml"
    )]
    Run(ConfigFile),
    /// Validate a configuration; needs neither root nor a daemon
    #[command(after_help = "Warnings go to standard error and do not change the exit code.\n\n\
        Example:\n  xlat-ctl check --config ./xlat.toml && systemctl restart xlat")]
    Check(ConfigFile),
    /// Look at the machine for what makes a relay misbehave, and say what mends it
    #[command(after_help = "Changes nothing. Exit code 0 where nothing is found, 1 otherwise.\n\n\
        Example:\n  xlat-ctl doctor --config /etc/xlat/xlat.toml")]
    Doctor(ConfigFile),
    /// Have the daemon take its configuration file as it is, without losing a packet
    #[command(
        after_help = "A new program instance is made, filled, tried and put in the place of the old one. Where the file \
        is wrong, nothing changes. Where it gives an interface another XDP mode, packets go untranslated for a moment. SIGHUP \
        does the same.\n\nExample:\n  xlat-ctl reload"
    )]
    Reload,
    /// Remove the program that a daemon has left attached
    #[command(
        after_help = "A daemon that ended with `on_restart = \"keep\"`, or was killed, leaves the program translating. This \
        removes every trace of it: links, maps, fragmenter, rules. It does nothing while a daemon runs.\n\n\
        Example:\n  xlat-ctl detach --config /etc/xlat/xlat.toml"
    )]
    Detach(ConfigFile),
    /// As root, make ready what a daemon under its own user cannot make: for service managers
    Prepare(prepare::Prepare),
    /// Show interfaces, XDP mode, program, table size and uptime
    #[command(after_help = "Exit code 0 only when a daemon answers and its program is attached to every configured \
        interface.\n\nExample:\n  xlat-ctl status --json | jq .state")]
    Status,
    /// Change and show the table of explicit address mappings
    #[command(subcommand)]
    Eam(eam::Verb),
    /// Make a configuration and a table from those of another translator
    #[command(subcommand)]
    Import(import::Verb),
    /// Look after the store of the entries, without a daemon
    #[command(subcommand)]
    State(state::Verb),
    /// Show what an address translates to, and by which rule
    #[command(after_help = "Examples:\n  xlat-ctl lookup 198.51.100.10\n  xlat-ctl lookup 2001:db8:6464::808:808")]
    Lookup(lookup::Lookup),
    /// Show what becomes of a packet that nobody has sent, decision by decision
    #[command(
        after_help = "The packet is run through the program in force, loaded once more beside its counters, and through the rule \
        book; no counter, rate limit or log of the relay moves. Exit code 1 where the two disagree.\n\n\
        Examples:\n  \
        xlat-ctl explain udp 203.0.113.7:4711 198.51.100.10:53 --size 1400 --df\n  \
        xlat-ctl explain tcp [2001:db8:5e1:1::10]:80 [2001:db8:6464::203.0.113.7]:4711 --flags syn,ack\n  \
        xlat-ctl explain icmp 203.0.113.7 198.51.100.10 --ttl 1 --in eth0\n  \
        xlat-ctl explain --pcap trace.pcapng --packet 17"
    )]
    Explain(Box<explain::Explain>),
    /// Say what a drop reason means, who usually causes it and what to do; without a name, list them
    #[command(
        after_help = "Needs neither root nor a daemon.\n\nExamples:\n  xlat-ctl reason\n  xlat-ctl reason packet_too_big"
    )]
    Reason(reason::Verb),
    /// Turn translated addresses in a log into the clients' IPv4 addresses, from standard input to standard output
    #[command(
        after_help = "Addresses in any spelling, with brackets, port or zone; everything else stays byte for byte. Works \
        without a daemon; where one runs, its dynamic EAMs are used too. On another machine give --prefix and --eams.\n\n\
        Examples:\n  \
        xlat-ctl annotate < access.log\n  \
        tail -F access.log | xlat-ctl annotate --keep\n  \
        tcpdump -l -n -i ens1f1 | xlat-ctl annotate --prefix 2001:db8:6464::/96\n  \
        echo 203.0.113.7 | xlat-ctl annotate --reverse"
    )]
    Annotate(annotate::Annotate),
    /// Show how far IPv6 is: how much of the services' traffic is translated, and how much is IPv6 from end to end
    #[command(after_help = share::HELP)]
    Share(share::Share),
    /// Show packets, bytes and drops since the program was first attached
    #[command(after_help = "With --watch, rates over each interval are shown too; with --json, one line for each \
        reading.\n\nExamples:\n  xlat-ctl stats\n  xlat-ctl stats --watch=5")]
    Stats(stats::Stats),
    /// Show rates by direction, protocol and reason for drops, as they change
    #[command(after_help = top::HELP)]
    Top(top::Top),
    /// Show real packets before and after translation, with what became of them and why
    #[command(after_help = capture::HELP)]
    Capture(capture::Capture),
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
}

/// A verb that did not do what it was asked to.
#[derive(Debug)]
struct Failed {
    /// For people; nothing where all is said already.
    message: Option<String>,
    /// The daemon's answer, for `--json`.
    answer: Option<String>,
}

impl From<String> for Failed {
    fn from(message: String) -> Self {
        Self { message: Some(message), answer: None }
    }
}

impl Cli {
    /// Judges what the parser of the command line cannot: values that have to go together.
    fn judged(self) -> Result<Self, clap::Error> {
        let (verb, wrong) = match &self.verb {
            Verb::Explain(explain) => ("explain", explain.wrong_usage()),
            Verb::Top(top) => ("top", top.wrong_usage(&self.common)),
            Verb::Annotate(_) => {
                ("annotate", self.common.json.then(|| "--json: it writes the log that it reads".to_owned()))
            }
            Verb::Run(_) => ("run", self.common.json.then(|| "--json: it gives no answer, but a log".to_owned())),
            _ => return Ok(self),
        };
        let Some(text) = wrong else { return Ok(self) };
        let mut command = Self::command();
        command.build();
        Err(match command.find_subcommand_mut(verb) {
            Some(command) => command.error(ErrorKind::ValueValidation, text),
            None => command.error(ErrorKind::ValueValidation, text),
        })
    }
}

/// Runs the command of this process.
#[must_use]
pub fn main() -> ExitCode {
    // An empty line of an environment file names no socket.
    if std::env::var_os("XLAT_SOCKET").is_some_and(|path| path.is_empty()) {
        // SAFETY: there is no other thread yet.
        unsafe { std::env::remove_var("XLAT_SOCKET") };
    }
    let Cli { common, verb } = Cli::parse().judged().unwrap_or_else(|error| error.exit());
    // What they write may be no JSON, and by another way than all others.
    let streams = matches!(verb, Verb::Capture(_) | Verb::Annotate(_));
    let done = match verb {
        Verb::Run(ConfigFile { config }) => return daemon::run(&config, common.socket),
        Verb::Check(ConfigFile { config }) => check::check(&config, common.json),
        Verb::Doctor(ConfigFile { config }) => doctor::doctor(&config, &common),
        Verb::Reload => detach::reload(&common),
        Verb::Detach(ConfigFile { config }) => detach::detach(&config, common.json),
        Verb::Prepare(prepare) => prepare::prepare(&prepare, common.json),
        Verb::Status => status::status(&common),
        Verb::Eam(verb) => eam::eam(&common, verb),
        Verb::Import(verb) => import::import(&common, verb),
        Verb::State(verb) => state::state(&common, verb),
        Verb::Lookup(lookup) => lookup::lookup(&common, &lookup),
        Verb::Explain(verb) => explain::explain(&common, &verb),
        Verb::Reason(verb) => reason::reason(&common, &verb),
        Verb::Annotate(annotate) => annotate::annotate(&common, &annotate),
        Verb::Share(share) => share::share(&common, &share),
        Verb::Stats(stats) => stats::stats(&common, &stats),
        Verb::Top(top) => top::top(&common, &top),
        Verb::Capture(capture) => capture::capture(&common, &capture),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed { message, answer }) => {
            let own = || message.clone().filter(|_| !streams && !output::has_answered()).map(own_answer);
            if let Some(answer) = answer.or_else(own).filter(|_| common.json) {
                output::print(&answer);
            }
            if let Some(message) = message {
                output::complain(&message);
            }
            ExitCode::FAILURE
        }
    }
}

/// What the command itself has failed at, as the daemon tells what it has.
fn own_answer(message: String) -> String {
    output::json(&api::Failure { error: api::Error { code: api::Code::Failed, message } })
}

#[cfg(test)]
mod tests;
