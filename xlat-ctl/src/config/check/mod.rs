//! Judges a configuration file: every fault is found in one go, each told in one sentence.

mod translation;

use std::{
    fmt::Display,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use ipnet::{Ipv4Net, Ipv6Net};
use toml::Spanned;
use xlat_common::settings::{MAX_PLATEAUS, MAX_POOL, MAX_PREFIXES};

pub(super) use self::translation::translation_prefix;
use super::{
    Accounting, Checked, Config, Control, DEFAULT_PIN_DIRECTORY, DEFAULT_SOCKET, DEFAULT_STATE, Dataplane, Deny, Dscp,
    FlowLabel, Hairpin, Icmp, IcmpErrors, Metrics, OnEnd, Pattern, PrefixFor, Problem, Scope, State, Translation,
    UdpZeroChecksum,
    file::{self, File, List, Number, Placed, WordOrNumber},
    problem::nearest,
};
use crate::{
    dataplane::XdpMode,
    eam::{self, Origin, Pair, PrefixError},
};

/// Most entries the table can be made for.
const MAX_EAMS: RangeInclusive<i128> = 1..=4_194_304;
/// Changes of single entries that the history can remember.
const MAX_HISTORY: RangeInclusive<i128> = 0..=100_000_000;
/// Most EAMs of each kind that the metrics page shows.
const MAX_SHOWN: usize = 1000;
/// Bytes of `sun_path`, the end included.
const MAX_SOCKET_PATH: usize = 108;
/// Prefix lengths of RFC 6052 2.2.
const PREFIX_LENGTHS: [u8; 6] = [32, 40, 48, 56, 64, 96];

/// Judges `file`, which was read from `text`.
pub(super) fn check(text: &str, file: File) -> Result<Checked, Vec<Problem>> {
    let line_ends = text.bytes().enumerate().filter_map(|(at, byte)| (byte == b'\n').then_some(at)).collect();
    let mut checker = Checker { line_ends, faults: Vec::new(), warnings: Vec::new(), refusals: Vec::new() };
    let config = checker.config(file);
    checker.faults.sort_by_key(|fault| fault.line);
    let Checker { faults, warnings, refusals, .. } = checker;
    if faults.is_empty() { Ok(Checked { config, warnings, refusals }) } else { Err(faults) }
}

struct Checker {
    /// Where lines end, in the order of the text.
    line_ends: Vec<usize>,
    faults: Vec<Problem>,
    warnings: Vec<Problem>,
    refusals: Vec<Problem>,
}

impl Checker {
    /// The line that a value begins on, from 1.
    fn line<T>(&self, value: &Spanned<T>) -> Option<usize> {
        let start = value.span().start;
        Some(self.line_ends.partition_point(|end| *end < start) + 1)
    }

    fn fault(&mut self, line: Option<usize>, text: impl Into<String>) {
        self.faults.push(Problem { line, text: text.into() });
    }

    fn warn(&mut self, line: Option<usize>, text: impl Into<String>) {
        self.warnings.push(Problem { line, text: text.into() });
    }

    /// Notes the error of a value and goes on without it.
    fn take<T>(&mut self, line: Option<usize>, key: &str, result: Result<T, impl Display>) -> Option<T> {
        result.map_err(|error| self.fault(line, format!("{key}: {error}"))).ok()
    }

    fn number(
        &mut self,
        key: &str,
        value: Placed<Number>,
        range: RangeInclusive<i128>,
        why: &str,
        default: u32,
    ) -> u32 {
        let Some(value) = value else { return default };
        let Number(number) = *value.get_ref();
        if !range.contains(&number) {
            let (least, greatest) = range.into_inner();
            let line = self.line(&value);
            self.fault(line, format!("{key} = {number}: give a number from {least} to {greatest}{why}"));
            return default;
        }
        u32::try_from(number).unwrap_or(default)
    }

    fn word<T: Copy>(&mut self, key: &str, value: Placed<String>, words: &[(&str, T)], default: T) -> T {
        let Some(value) = value else { return default };
        if let Some((_, meaning)) = words.iter().find(|(word, _)| word == value.get_ref()) {
            return *meaning;
        }
        let line = self.line(&value);
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let hint =
            nearest(value.get_ref(), &names).map_or_else(String::new, |near| format!(" (did you mean \"{near}\"?)"));
        let allowed = names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        self.fault(line, format!("{key} = \"{}\"{hint}: give one of {allowed}", eam::cut(value.get_ref())));
        default
    }

    fn dscp(&mut self, key: &str, value: Placed<WordOrNumber>) -> Dscp {
        let Some(value) = value else { return Dscp::Copy };
        let line = self.line(&value);
        let given = match value.into_inner() {
            WordOrNumber::Word(word) if word == "copy" => return Dscp::Copy,
            WordOrNumber::Word(word) if word == "zero" => return Dscp::Fixed(0),
            WordOrNumber::Word(word) => format!("\"{}\"", eam::cut(&word)),
            WordOrNumber::Number(Number(number)) => match u8::try_from(number) {
                Ok(byte) => return Dscp::Fixed(byte),
                Err(_) => number.to_string(),
            },
        };
        self.fault(line, format!("{key} = {given}: give \"copy\", \"zero\" or a number from 0 to 255"));
        Dscp::Copy
    }

    /// Reads every element of a list; one that is there twice is a fault.
    fn list<Raw, T: PartialEq>(
        &mut self,
        key: &str,
        list: List<Raw>,
        read: impl Fn(&Raw) -> Result<T, String>,
    ) -> Vec<(Option<usize>, T)>
    where
        Raw: Display,
    {
        let mut values: Vec<(Option<usize>, T)> = Vec::new();
        for raw in list.map(Spanned::into_inner).unwrap_or_default() {
            let line = self.line(&raw);
            let Some(value) = self.take(line, key, read(raw.get_ref())) else { continue };
            if values.iter().any(|(_, other)| *other == value) {
                self.fault(line, format!("{key}: {} is there twice", eam::cut(&raw.get_ref().to_string())));
            } else {
                values.push((line, value));
            }
        }
        values
    }

    fn at_most<T>(&mut self, key: &str, values: &[(Option<usize>, T)], most: usize) {
        if let Some((line, _)) = values.get(most) {
            self.fault(*line, format!("{key} has {} entries; {most} are allowed", values.len()));
        }
    }

    fn patterns(&mut self, key: &str, list: List<String>) -> Vec<Pattern> {
        without_lines(self.list(key, list, |text| Pattern::new(text)))
    }

    fn config(&mut self, file: File) -> Config {
        let dataplane = self.dataplane(file.dataplane);
        let translation = self.translation(file.translation);
        let prefix_for = self.prefix_for(&translation.prefixes, file.prefix_for);
        let mut config = Config {
            dataplane,
            translation,
            prefix_for,
            eams: Vec::new(),
            icmp: self.icmp(file.icmp),
            deny: self.deny(file.deny),
            state: self.state(file.state),
            control: self.control(file.control),
            metrics: self.metrics(file.metrics),
            accounting: self.accounting(file.accounting),
        };
        self.eams(&mut config, file.eam);
        config
    }

    fn accounting(&mut self, section: file::Accounting) -> Accounting {
        const NAMED: &str = "accounting.named";
        let named = self.list(NAMED, section.named, |text| eam::parse_ipv4(text).map_err(sentence));
        self.at_most(NAMED, &named, MAX_SHOWN);
        let services = section.services.is_some_and(Spanned::into_inner);
        let line = section.native.as_ref().and_then(|native| self.line(native));
        let native = section.native.is_some_and(Spanned::into_inner);
        if native && !services {
            self.fault(
                line,
                "accounting.native = true counts for the accounts of accounting.services: set that to true, too",
            );
        }
        Accounting {
            services,
            native,
            busiest: self.number("accounting.busiest", section.busiest, 0..=MAX_SHOWN as i128, "", 20),
            named: without_lines(named),
        }
    }

    fn dataplane(&mut self, section: file::Dataplane) -> Dataplane {
        let line = section.interfaces.as_ref().and_then(|list| self.line(list));
        let given = section.interfaces.as_ref().is_some_and(|list| !list.get_ref().is_empty());
        if !given {
            self.fault(line, "dataplane.interfaces: name at least one interface, such as interfaces = [\"eth0\"]");
        }
        Dataplane {
            interfaces: self.patterns("dataplane.interfaces", section.interfaces),
            xdp_mode: self.word(
                "dataplane.xdp_mode",
                section.xdp_mode,
                &[("auto", XdpMode::Auto), ("native", XdpMode::Native), ("generic", XdpMode::Generic)],
                XdpMode::Auto,
            ),
            max_eams: self.number("dataplane.max_eams", section.max_eams, MAX_EAMS, "", 65_536),
            pin_directory: self.pin_directory(section.pin_directory),
            on_stop: self.word("dataplane.on_stop", section.on_stop, OnEnd::WORDS, OnEnd::Detach),
            on_restart: self.word("dataplane.on_restart", section.on_restart, OnEnd::WORDS, OnEnd::Keep),
        }
    }

    fn pin_directory(&mut self, value: Placed<String>) -> PathBuf {
        let Some(value) = value else { return PathBuf::from(DEFAULT_PIN_DIRECTORY) };
        let path = PathBuf::from(value.get_ref());
        // No name in a BPF file system has a dot in it (Linux, kernel/bpf/inode.c). The file system itself is everybody's.
        let below = path.strip_prefix("/sys/fs/bpf").ok();
        let has_dot = |path: &Path| path.as_os_str().as_encoded_bytes().contains(&b'.');
        let names_dot = below.map_or_else(|| path.file_name().map(Path::new).is_none_or(has_dot), has_dot);
        if !path.is_absolute() || names_dot || below.is_some_and(|below| below.as_os_str().is_empty()) {
            let line = self.line(&value);
            let text = "give the absolute path of a directory of its own in a BPF file system, without a dot, such as \
                        \"/sys/fs/bpf/xlat\"";
            self.fault(line, format!("dataplane.pin_directory = \"{}\": {text}", eam::cut(value.get_ref())));
        }
        path
    }

    fn eams(&mut self, config: &mut Config, eams: Vec<Spanned<file::Eam>>) {
        let mut table = eam::Table::default();
        let most = usize::try_from(config.dataplane.max_eams).unwrap_or(usize::MAX);
        if let Some(first_too_many) = eams.get(most) {
            let line = self.line(first_too_many);
            self.fault(line, format!("{} [[eam]] entries, but dataplane.max_eams = {most}", eams.len()));
        }
        for raw in eams {
            let line = self.line(&raw);
            let Some(entry) = self.eam(line, raw.into_inner()) else { continue };
            if let Err(refusal) = table.admit(&entry.pair) {
                self.fault(line, format!("eam {}: {refusal}", entry.pair));
                continue;
            }
            for doubt in config.doubts(&table, &entry.pair) {
                self.warn(line, format!("eam: {doubt}"));
            }
            if let Some(text) = config.forbids(&entry.pair) {
                self.refusals.push(Problem { line, text: format!("eam: {text}") });
            }
            if table.insert(entry.clone()).is_ok() {
                config.eams.push(entry);
            }
        }
    }

    fn eam(&mut self, line: Option<usize>, raw: file::Eam) -> Option<eam::Entry> {
        if raw.ipv4.is_none() {
            self.fault(line, "eam.ipv4 is missing");
        }
        if raw.ipv6.is_none() {
            self.fault(line, "eam.ipv6 is missing");
        }
        let ipv4 = raw.ipv4.and_then(|text| self.take(self.line(&text), "eam.ipv4", eam::parse_ipv4(text.get_ref())));
        let ipv6 = raw.ipv6.and_then(|text| self.take(self.line(&text), "eam.ipv6", eam::parse_ipv6(text.get_ref())));
        let comment = raw.comment.map(Spanned::into_inner).unwrap_or_default();
        self.take(line, "eam.comment", eam::check_comment(&comment))?;
        let pair = self.take(line, "eam", Pair::new(ipv4?, ipv6?))?;
        Some(eam::Entry { pair, comment: comment.into(), origin: Origin::Static })
    }

    fn icmp(&mut self, section: file::Icmp) -> Icmp {
        let ipv4_pool = self.list("icmp.ipv4_pool", section.ipv4_pool, |text| {
            let net = eam::parse_ipv4(text).map_err(sentence)?;
            if net.prefix_len() < 8 {
                return Err(format!("{net} is more than a /8: give the addresses that are really yours"));
            }
            eam::illegal_ipv4(net).map_or(Ok(net), |range| Err(format!("{net} is {range} and cannot be a source")))
        });
        self.at_most("icmp.ipv4_pool", &ipv4_pool, MAX_POOL);
        let ipv6_pool = self.list("icmp.ipv6_pool", section.ipv6_pool, |text| {
            let net = eam::parse_ipv6(text).map_err(sentence)?;
            eam::illegal_ipv6(net).map_or(Ok(net), |range| Err(format!("{net} is {range} and cannot be a source")))
        });
        self.at_most("icmp.ipv6_pool", &ipv6_pool, MAX_POOL);
        for (index, (line, net)) in ipv4_pool.iter().enumerate() {
            let mut before = ipv4_pool[..index].iter().map(|(_, other)| other);
            if let Some(other) = before.find(|other| other.contains(net) || net.contains(*other)) {
                self.fault(*line, format!("icmp.ipv4_pool: {net} overlaps {other}"));
            }
        }
        for (index, (line, net)) in ipv6_pool.iter().enumerate() {
            let mut before = ipv6_pool[..index].iter().map(|(_, other)| other);
            if let Some(other) = before.find(|other| other.contains(net) || net.contains(*other)) {
                self.fault(*line, format!("icmp.ipv6_pool: {net} overlaps {other}"));
            }
        }
        Icmp {
            errors: self.word("icmp.errors", section.errors, IcmpErrors::WORDS, IcmpErrors::RateLimited),
            rate: self.number("icmp.rate", section.rate, 1..=1_000_000, " (for none at all: errors = \"off\")", 1000),
            ipv4_pool: without_lines(ipv4_pool),
            ipv6_pool: without_lines(ipv6_pool),
            interface_info: section.interface_info.is_some_and(Spanned::into_inner),
            kernel_errors: section.kernel_errors.is_none_or(Spanned::into_inner),
        }
    }

    fn deny(&mut self, section: file::Deny) -> Deny {
        let ipv4: Vec<(_, Ipv4Net)> =
            self.list("deny.ipv4", section.ipv4, |text| eam::parse_ipv4(text).map_err(sentence));
        let ipv6: Vec<(_, Ipv6Net)> =
            self.list("deny.ipv6", section.ipv6, |text| eam::parse_ipv6(text).map_err(sentence));
        Deny { ipv4: without_lines(ipv4), ipv6: without_lines(ipv6) }
    }

    fn state(&mut self, section: file::State) -> State {
        let directory = section.directory.map_or_else(
            || PathBuf::from(DEFAULT_STATE),
            |text| {
                let path = PathBuf::from(text.get_ref());
                if !path.is_absolute() {
                    let sentence =
                        format!("state.directory: {}: give the whole path, from / on", eam::cut(text.get_ref()));
                    self.fault(self.line(&text), sentence);
                }
                path
            },
        );
        let history = self.number("state.history", section.history, MAX_HISTORY, "", 1_000_000);
        State { directory, history: history.into() }
    }

    fn control(&mut self, section: file::Control) -> Control {
        let default = PathBuf::from(DEFAULT_SOCKET);
        let socket = section.socket.map_or(default, |text| {
            let line = self.line(&text);
            let path = PathBuf::from(text.get_ref());
            self.take(line, "control.socket", socket_path(&path));
            path
        });
        let group = section.group.map_or_else(
            || "xlat".to_owned(),
            |text| {
                if text.get_ref().is_empty() {
                    self.fault(self.line(&text), "control.group is empty: give a group's name, such as \"root\"");
                }
                text.into_inner()
            },
        );
        Control { socket, is_named: false, group }
    }

    fn metrics(&mut self, section: file::Metrics) -> Metrics {
        let default = ([127, 0, 0, 1], 9464).into();
        let listen = section.listen.map_or(default, |text| {
            text.get_ref().parse().unwrap_or_else(|_| {
                let sentence = format!(
                    "metrics.listen = \"{}\": give an address and a port, such as \"127.0.0.1:9464\" or \"[::1]:9464\"",
                    eam::cut(text.get_ref())
                );
                self.fault(self.line(&text), sentence);
                default
            })
        });
        Metrics { listen }
    }
}

/// Whether a Unix socket can be made at this path.
///
/// # Errors
/// One sentence: the path is relative or too long.
pub(super) fn socket_path(path: &Path) -> Result<(), String> {
    let shown = path.display().to_string();
    if !path.is_absolute() {
        return Err(format!("{}: give the whole path, from / on", eam::cut(&shown)));
    }
    if path.as_os_str().len() >= MAX_SOCKET_PATH {
        return Err(format!("{}: a socket's path has at most {} bytes", eam::cut(&shown), MAX_SOCKET_PATH - 1));
    }
    Ok(())
}

fn sentence(error: PrefixError) -> String {
    error.to_string()
}

fn without_lines<T>(values: Vec<(Option<usize>, T)>) -> Vec<T> {
    values.into_iter().map(|(_, value)| value).collect()
}
