//! TAYGA: `tayga.conf` and its map-file.

use std::collections::BTreeSet;

use super::{Imported, Source};
use crate::eam;

/// Directives that TAYGA takes once, and what becomes of others.
const ONCE: [(&str, &str); 3] = [
    ("prefix", "every prefix is kept, in [translation] prefixes"),
    ("ipv4-addr", "the last address stands"),
    ("ipv6-addr", "no address is kept"),
];

/// Whether a configuration of TAYGA is likely to begin with this word.
pub(super) fn is_usual(word: &str) -> bool {
    let usual = ["tun-device", "ipv4-addr", "ipv6-addr", "prefix", "dynamic-pool", "data-dir", "map"];
    usual.contains(&word.to_ascii_lowercase().as_str())
}

/// Reads files of TAYGA; a map-file has only lines `map`.
///
/// # Errors
/// One sentence with file and line: a value cannot be read, or the file is none of TAYGA.
pub fn tayga(sources: &[Source<'_>]) -> Result<Imported, String> {
    let mut imported = Imported { from: "TAYGA", ..Imported::default() };
    let (mut seen, mut has_maps) = (BTreeSet::new(), false);
    for source in sources {
        let mut is_taygas = false;
        for (index, line) in source.text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            if let Some((directive, values)) = words.split_first() {
                // TAYGA takes its directives in any case.
                let directive = directive.to_ascii_lowercase();
                let place = format!("{}:{}", source.name, index + 1);
                is_taygas |= read(&mut imported, &place, &directive, values, sources)?;
                has_maps |= directive == "map";
                if let Some((once, kept)) = ONCE.iter().find(|(once, _)| *once == directive)
                    && !seen.insert(*once)
                {
                    imported.note(place, format!("`{directive}` is given before, and TAYGA takes it once: {kept}"));
                }
            }
        }
        if !is_taygas {
            return Err(source.refuse("tayga", "TAYGA's configuration or its map-file"));
        }
    }
    if !imported.prefixes.is_empty() && !has_maps {
        imported.set("scope", "\"all\"");
        imported.note_first(
            "prefix",
            "there are no map lines, hence scope = \"all\": every IPv4 packet that arrives by the interfaces and is not for this \
             machine is translated, where TAYGA had what is routed into its tunnel; let nothing else arrive there",
        );
    } else if !imported.prefixes.is_empty() {
        imported.note_first(
            "prefix",
            "TAYGA translates whatever is routed into its tunnel, xlat what arrives by its interfaces and is to or from a service of \
             the map lines; with scope = \"all\" it would be every IPv4 packet that arrives there",
        );
    }
    imported.note_without_prefix("prefix");
    Ok(imported.finish())
}

/// Reads a line. Whether its directive is one of TAYGA's.
fn read(
    imported: &mut Imported,
    place: &str,
    directive: &str,
    values: &[&str],
    sources: &[Source<'_>],
) -> Result<bool, String> {
    let one = || match values {
        [value] => Ok(*value),
        [] => Err(format!("{place}: `{directive}` has no value")),
        [_, rest @ ..] => {
            Err(format!("{place}: `{directive}` takes one value: take `{}` out", eam::cut(&rest.join(" "))))
        }
    };
    match directive {
        "map" => match values {
            [ipv4, ipv6] => imported.map(place, ipv4, ipv6, "")?,
            _ => return Err(format!("{place}: `map` takes an IPv4 and an IPv6 address or prefix")),
        },
        "prefix" => imported.prefix(&format!("{place}: {directive}"), one()?)?,
        "wkpf-strict" => match one()?.to_ascii_lowercase().as_str() {
            "no" | "off" | "false" | "0" => imported.set("well_known_prefix_strict", false),
            "yes" | "on" | "true" | "1" => imported.set("well_known_prefix_strict", true),
            other => imported
                .note(place, format!("wkpf-strict: `{}` is neither yes nor no, and left out", eam::cut(other))),
        },
        "udp-cksum-mode" => match one()?.to_ascii_lowercase().as_str() {
            calculate if calculate.starts_with("calc") => imported.set("udp_zero_checksum", "\"compute\""),
            forward if forward.starts_with("fwd") || forward.starts_with("forw") => imported.note(
                "udp-cksum-mode fwd",
                "IPv6 does not allow UDP without a checksum: such packets are dropped; udp_zero_checksum = \"compute\" lets \
                 them pass with one",
            ),
            drop if drop.starts_with("dr") => imported.set("udp_zero_checksum", "\"drop\""),
            other => imported
                .note(place, format!("udp-cksum-mode: `{}` is not drop, calc or fwd, and left out", eam::cut(other))),
        },
        "offlink-mtu" => match one()?.parse::<u32>() {
            Ok(mtu @ 1280..=65535) => imported.set("lowest_ipv6_mtu", mtu),
            _ => imported.note(directive, "it is not from 1280 to 65535: the default 1280 stands"),
        },
        "ipv4-addr" => {
            imported.ipv4_pool = Some(eam::parse_ipv4(one()?).map_err(|error| format!("{place}: {error}"))?);
            imported.note(
                directive,
                "it stands for routers without an IPv4 address ([icmp] ipv4_pool); ICMP errors of the relay's own come from \
                 its interface's address, and it answers pings there",
            );
        }
        "ipv6-addr" => imported.note(
            directive,
            "xlat has no address of its own: ICMPv6 errors come from the interface's address, and the relay answers pings there",
        ),
        "map-file" => {
            let file = one()?;
            let base = |path: &str| path.rsplit('/').next().map(str::to_owned);
            if !sources.iter().any(|source| base(source.name) == base(file)) {
                imported.note(directive, format!("give {} on the command line too, or its mappings are missing", eam::cut(file)));
            }
        }
        "dynamic-pool" => imported.note(
            directive,
            "xlat is stateless: an IPv6 host that is to reach IPv4 needs a mapping of its own, or a stateful NAT64",
        ),
        "data-dir" => imported.note(directive, "xlat keeps its table in [state] directory"),
        "tun-device" | "tun-up" | "tun-ip" | "tun-route" => imported.note(
            directive,
            "xlat has no tunnel interface: it is attached to [dataplane] interfaces, and services are routed to the machine",
        ),
        "log" => imported.note(directive, "drops are counted by reason: `xlat-ctl stats` and the metrics page"),
        "strict-frag-hdr" => imported.note(
            directive,
            "xlat adds a Fragment Header only where RFC 7915 section 4 asks for it: to fragments, and to what it has to fragment",
        ),
        other => {
            imported.note(place, format!("xlat does not know the directive `{}`", eam::cut(other)));
            return Ok(false);
        }
    }
    Ok(true)
}
