//! The configuration: `xlat.toml`, read and judged as a whole before anything changes.

mod check;
mod file;
mod pattern;
mod problem;
mod settings;

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use ipnet::{Ipv4Net, Ipv6Net};

pub use self::{pattern::Pattern, problem::Problem};
use crate::{
    dataplane::XdpMode,
    eam::{self, Pair},
};

/// Where the configuration is looked for.
pub const DEFAULT_PATH: &str = "/etc/xlat/xlat.toml";
/// Where the control socket is when nothing else is said.
pub const DEFAULT_SOCKET: &str = "/run/xlat/xlat.sock";
/// Where links and maps are pinned when nothing else is said.
pub const DEFAULT_PIN_DIRECTORY: &str = "/sys/fs/bpf/xlat";
/// Where the store is when nothing else is said.
pub const DEFAULT_STATE: &str = "/var/lib/xlat";
/// The commented example: every key, with its default.
pub const EXAMPLE: &str = include_str!("../../xlat.toml");

/// The well-known prefix 64:ff9b::/96 (RFC 6052 2.1).
#[must_use]
pub fn well_known_prefix() -> Ipv6Net {
    Ipv6Net::new_assert(std::net::Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96)
}

/// A header byte that is copied from the other family's header or set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dscp {
    /// As it is in the packet.
    Copy,
    /// This value, always.
    Fixed(u8),
}

/// A setting that is one of a few words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// The words in the configuration and what they mean.
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];
        }
    };
}

words! {
    /// RFC 7757 4.
    Hairpin {
        /// RFC 7757 4.2.2.
        Intrinsic = "intrinsic",
        /// RFC 7757 4.2.1.
        Simple = "simple",
        /// No hairpinning.
        Off = "off",
    }
}
words! {
    /// What becomes of an IPv4 UDP packet without checksum (RFC 7915 4.5).
    UdpZeroChecksum {
        /// It is dropped.
        Drop = "drop",
        /// One is computed.
        Compute = "compute",
    }
}
words! {
    /// The flow label of a translated packet.
    FlowLabel {
        /// RFC 7915 4.1.
        Zero = "zero",
        /// RFC 6438.
        Hash = "hash",
    }
}
words! {
    /// Which packets are translated.
    Scope {
        /// One of the packet's addresses at least matches an EAM.
        Eam = "eam",
        /// The translation prefix alone will do.
        All = "all",
    }
}
words! {
    /// ICMP errors of the relay's own.
    IcmpErrors {
        /// Always sent.
        On = "on",
        /// At most `rate` a second.
        RateLimited = "rate-limited",
        /// Never sent.
        Off = "off",
    }
}

words! {
    /// What becomes of the data plane when the daemon ends.
    OnEnd {
        /// It is detached, and nothing is left.
        Detach = "detach",
        /// It goes on translating.
        Keep = "keep",
    }
}

/// `[dataplane]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataplane {
    /// The interfaces the program is attached to; at least one.
    pub interfaces: Vec<Pattern>,
    /// How it is attached.
    pub xdp_mode: XdpMode,
    /// Most entries that the EAM table can hold.
    pub max_eams: u32,
    /// Where the program's links and maps are pinned, in a BPF file system.
    pub pin_directory: PathBuf,
    /// What becomes of the data plane when the daemon is stopped (SIGTERM, SIGINT).
    pub on_stop: OnEnd,
    /// What becomes of it when the daemon ends to be started again (SIGUSR1).
    pub on_restart: OnEnd,
}

/// `[translation]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Translation {
    /// Translation prefixes (RFC 6052); the first is the default.
    pub prefixes: Vec<Ipv6Net>,
    /// Bytes.
    pub lowest_ipv6_mtu: u32,
    /// RFC 7757 4.
    pub hairpin: Hairpin,
    /// RFC 7915 4.5.
    pub udp_zero_checksum: UdpZeroChecksum,
    /// Of the IPv6 packet.
    pub traffic_class: Dscp,
    /// Of the IPv4 packet.
    pub tos: Dscp,
    /// Of the IPv6 packet.
    pub flow_label: FlowLabel,
    /// Bytes, descending (RFC 1191 7.1).
    pub mtu_plateaus: Vec<u32>,
    /// Which packets are translated.
    pub scope: Scope,
    /// RFC 6052 3.1.
    pub well_known_prefix_strict: bool,
    /// What is in no scope is dropped.
    pub strict: bool,
}

/// `[[prefix_for]]`: which translation prefix stands for the IPv4 Internet where it is not the first.
#[derive(Clone, Debug, PartialEq)]
pub struct PrefixFor {
    /// Index of the translation prefix.
    pub prefix: u8,
    /// For packets that arrive at these interfaces.
    pub interfaces: Vec<Pattern>,
    /// For packets from or to EAMs within these IPv4 prefixes.
    pub ipv4: Vec<Ipv4Net>,
}

/// `[icmp]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Icmp {
    /// ICMP errors of the relay's own.
    pub errors: IcmpErrors,
    /// Errors a second.
    pub rate: u32,
    /// RFC 6791: sources for ICMPv6 errors whose source has no mapping.
    pub ipv4_pool: Vec<Ipv4Net>,
    /// Sources for ICMPv4 errors whose source has no mapping.
    pub ipv6_pool: Vec<Ipv6Net>,
    /// RFC 5837 extension with the true source.
    pub interface_info: bool,
    /// Whether the kernel's own ICMPv6 errors to IPv4 clients are translated.
    pub kernel_errors: bool,
}

/// `[deny]`: addresses that are never translated.
#[derive(Clone, Debug, PartialEq)]
pub struct Deny {
    /// IPv4 prefixes.
    pub ipv4: Vec<Ipv4Net>,
    /// IPv6 prefixes.
    pub ipv6: Vec<Ipv6Net>,
}

/// `[control]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    /// Path of the Unix socket.
    pub socket: PathBuf,
    /// Whether the command line has named it, which wins over what the file says.
    pub is_named: bool,
    /// The group that may use it.
    pub group: String,
}

/// `[metrics]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// Address and TCP port of the metrics page.
    pub listen: SocketAddr,
}

/// `[accounting]`: what is counted of single services.
#[derive(Clone, Debug, PartialEq)]
pub struct Accounting {
    /// Packets and bytes of each EAM, by direction.
    pub services: bool,
    /// What passes natively to and from the same services, beside it; takes `services`.
    pub native: bool,
    /// How many of the busiest EAMs are on the metrics page.
    pub busiest: u32,
    /// EAMs that always are, by their IPv4 prefixes.
    pub named: Vec<Ipv4Net>,
}

/// `[state]`: what has to survive a restart.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Directory of the store.
    pub directory: PathBuf,
    /// Changes of single entries that the history remembers.
    pub history: u64,
}

/// A whole and valid configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[dataplane]`.
    pub dataplane: Dataplane,
    /// `[translation]`.
    pub translation: Translation,
    /// `[[prefix_for]]`.
    pub prefix_for: Vec<PrefixFor>,
    /// `[[eam]]`: the static entries, in the order of the file.
    pub eams: Vec<eam::Entry>,
    /// `[icmp]`.
    pub icmp: Icmp,
    /// `[deny]`.
    pub deny: Deny,
    /// `[state]`.
    pub state: State,
    /// `[control]`.
    pub control: Control,
    /// `[metrics]`.
    pub metrics: Metrics,
    /// `[accounting]`.
    pub accounting: Accounting,
}

/// A valid configuration, and what is doubtful in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The configuration.
    pub config: Config,
    /// What an operator should look at; nothing here prevents a start.
    pub warnings: Vec<Problem>,
    /// What the data plane could do, but [`load`] refuses as a mistake: EAMs inside a translation prefix or a deny list.
    pub refusals: Vec<Problem>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {}{}", path.display(), crate::plain(cause), hint(cause))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// The file is not a valid configuration.
    #[error("{}", problems.iter().map(|problem| place(path, problem)).collect::<Vec<_>>().join("\n"))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong in it; at least one.
        problems: Vec<Problem>,
    },
}

fn hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::NotFound { " (give another with --config)" } else { "" }
}

/// A problem with the file and line in front of it, as compilers write them.
#[must_use]
pub fn place(path: &Path, problem: &Problem) -> String {
    match problem.line {
        Some(line) => format!("{}:{line}: {}", path.display(), problem.text),
        None => format!("{}: {}", path.display(), problem.text),
    }
}

/// A path that a Unix socket can have.
///
/// # Errors
/// One sentence: the path is relative or too long.
pub fn socket(path: &Path) -> Result<PathBuf, String> {
    check::socket_path(path).map(|()| path.to_owned())
}

/// Reads a translation prefix and judges it by RFC 6052 2.2.
///
/// # Errors
/// One sentence: it is no IPv6 prefix, or none that can be a translation prefix.
pub fn translation_prefix(text: &str) -> Result<Ipv6Net, String> {
    check::translation_prefix(text)
}

/// Reads and checks a configuration file.
///
/// # Errors
/// The file cannot be read, or every fault in it.
pub fn load(path: &Path) -> Result<Checked, ConfigError> {
    let bytes = fs::read(path).map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })?;
    let not_utf8 = |line| vec![Problem { line: Some(line), text: crate::NOT_UTF8.to_owned() }];
    match crate::utf8(&bytes).map_err(not_utf8).and_then(parse) {
        Ok(checked) if checked.refusals.is_empty() => Ok(checked),
        Ok(Checked { refusals: problems, .. }) | Err(problems) => {
            Err(ConfigError::Invalid { path: path.to_owned(), problems })
        }
    }
}

/// Reads and checks the text of a configuration.
///
/// # Errors
/// Every fault found, at least one.
pub fn parse(text: &str) -> Result<Checked, Vec<Problem>> {
    let file = toml::from_str(text).map_err(|error| vec![problem::of_toml(text, &error)])?;
    check::check(text, file)
}

impl Config {
    /// The first key that differs in `new` and that a running daemon cannot change.
    #[must_use]
    pub fn needs_restart(&self, new: &Self) -> Option<&'static str> {
        let differs = [
            (self.dataplane.pin_directory != new.dataplane.pin_directory, "dataplane.pin_directory"),
            (!self.control.is_named && self.control.socket != new.control.socket, "control.socket"),
            (self.control.group != new.control.group, "control.group"),
            (self.metrics.listen != new.metrics.listen, "metrics.listen"),
            (self.state != new.state, "state"),
        ];
        differs.into_iter().find(|(differs, _)| *differs).map(|(_, key)| key)
    }

    /// The index of the translation prefix assigned to an EAM by `[[prefix_for]]`; `None`: the default rules.
    #[must_use]
    pub fn prefix_of(&self, pair: &Pair) -> Option<u8> {
        self.prefix_for
            .iter()
            .flat_map(|rule| rule.ipv4.iter().map(|net| (net, rule.prefix)))
            .filter(|(net, _)| net.contains(&pair.ipv4()))
            .max_by_key(|(net, _)| net.prefix_len())
            .map(|(_, prefix)| prefix)
    }

    /// The translation prefixes assigned to arrival interfaces by `[[prefix_for]]`: names or globs with the index of the
    /// prefix; the first that matches counts, and without a match the first prefix.
    #[must_use]
    pub fn interface_prefixes(&self) -> Vec<(String, u8)> {
        let rules = self.prefix_for.iter();
        rules.flat_map(|rule| rule.interfaces.iter().map(|pattern| (pattern.to_string(), rule.prefix))).collect()
    }

    /// What is doubtful about an EAM beside the entries of `table`, in sentences.
    #[must_use]
    pub fn doubts(&self, table: &eam::Table, pair: &Pair) -> Vec<String> {
        let rules = self.prefix_for.iter().flat_map(|rule| &rule.ipv4);
        let within = rules.filter(|net| pair.ipv4() != **net && pair.ipv4().contains(*net));
        let narrower = within.map(|net| {
            format!("{pair}: a [[prefix_for]] of {net} is for entries within that, and says nothing of a part of one")
        });
        table.overlaps(pair, eam::Table::MOST_OVERLAPS).into_iter().chain(narrower).collect()
    }

    /// Why an EAM is a mistake in this configuration, in one sentence; `None`: it is none.
    ///
    /// RFC 7757 allows an EAM inside the translation prefix, and the data plane does what it says. On a border relay it takes
    /// an address of the IPv4 Internet away from everyone, which nobody wants who writes it.
    #[must_use]
    pub fn forbids(&self, pair: &Pair) -> Option<String> {
        if pair.is_ipv4_mapped() {
            return Some(format!("{pair}: {}", eam::IPV4_MAPPED));
        }
        if let Some(prefix) = self.translation.prefixes.iter().find(|prefix| prefix.contains(&pair.ipv6())) {
            return Some(format!(
                "{pair} lies inside the translation prefix {prefix}: the IPv4 address that its IPv6 address stands for could \
                 not be reached any more"
            ));
        }
        if let Some(prefix) = self.translation.prefixes.iter().find(|prefix| pair.ipv6().contains(*prefix)) {
            return Some(format!(
                "{pair} covers the translation prefix {prefix}: answers to clients on the IPv4 Internet would go to the entry's \
                 IPv4 addresses instead"
            ));
        }
        let denied4 = self.deny.ipv4.iter().find(|net| net.contains(&pair.ipv4())).map(Ipv4Net::to_string);
        let denied =
            denied4.or_else(|| self.deny.ipv6.iter().find(|net| net.contains(&pair.ipv6())).map(Ipv6Net::to_string));
        denied.map(|net| format!("{pair} would never be used: {net} is in the deny list"))
    }
}

#[cfg(test)]
mod tests;
