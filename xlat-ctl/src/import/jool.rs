//! SIIT Jool: the JSON of its atomic configuration, and the CSV of `jool_siit eamt display --csv`.

use serde_json::{Map, Value};

use super::{Imported, Source, json};
use crate::{config, eam};

/// The verb of `xlat-ctl import`.
const VERB: &str = "jool";

/// Settings of the stateful NAT64 that Jool is too.
const STATEFUL: [&str; 2] = ["pool4", "bib"];
/// What a file of Jool is.
const WANTED: &str = "Jool's JSON configuration or the CSV of its EAM table";

/// Reads files of SIIT Jool.
///
/// # Errors
/// One sentence with the file: it cannot be read, or is of another kind of translator.
pub fn jool(sources: &[Source<'_>]) -> Result<Imported, String> {
    let mut imported = Imported { from: "Jool", ..Imported::default() };
    for source in sources {
        let named = |text: String| format!("{}: {text}", source.name);
        if source.text.trim_start().starts_with('{') {
            let value = json::read(source.text).map_err(|error| named(error.to_string()))?;
            let object = value.as_object().ok_or_else(|| named("this is not a JSON object".to_owned()))?;
            if !top(&mut imported, object).map_err(named)? {
                return Err(source.refuse(VERB, WANTED));
            }
        } else {
            csv(&mut imported, source)?;
        }
    }
    if imported.prefixes.contains(&config::well_known_prefix()) {
        imported.note_first(
            "pool6",
            "xlat keeps non-global IPv4 addresses out of the well-known prefix (RFC 6052 section 3.1); where you depend on \
             them, set well_known_prefix_strict = false",
        );
    }
    if !imported.untranslated.is_empty() {
        // As far as it goes: what no EAM maps is left to the kernel, whatever its address.
        let nets: Vec<String> = imported.untranslated.iter().map(ToString::to_string).collect();
        imported.note_first(
            "denylist4",
            format!(
                "no equivalent for {}: Jool leaves addresses there to the kernel where no EAM maps them; the scope \"eam\" leaves what \
                 is between two addresses without an EAM, but the clients of an EAM are translated wherever they are ([deny] would \
                 drop their packets)",
                eam::cut(&nets.join(", "))
            ),
        );
    } else if !imported.prefixes.is_empty() {
        imported.set("scope", "\"all\"");
        imported.note_first(
            "pool6",
            "Jool translates packets whose addresses are both in pool6, too: hence scope = \"all\"; \"eam\" is enough where \
             only the services of the EAM table are translated",
        );
    }
    imported.note_without_prefix("pool6");
    Ok(imported.finish())
}

/// Reads the JSON. Whether any of it is a setting of Jool.
fn top(imported: &mut Imported, object: &Map<String, Value>) -> Result<bool, String> {
    let mut is_jools = false;
    if let Some(stateful) = STATEFUL.iter().find(|key| object.contains_key(**key)) {
        return Err(format!("`{stateful}` belongs to Jool's stateful NAT64; xlat is stateless, as SIIT Jool is"));
    }
    for (key, value) in object {
        match key.as_str() {
            "comment" => {}
            "instance" => {
                imported.note("instance", "xlat has no names for relays: each has a configuration of its own");
            }
            "framework" => imported.note("framework", "xlat is attached to interfaces: see [dataplane] interfaces"),
            "global" => {
                let global = value.as_object().ok_or("`global` is not an object")?;
                globals(imported, global)?;
            }
            "eamt" => entries(imported, value)?,
            // Jool 3.5 has some settings here that later ones have in `global`, or under another name.
            "pool6" => texts(key, value)?.into_iter().try_for_each(|text| imported.prefix(key, text))?,
            "pool6791" => pool(imported, key, &texts(key, value)?)?,
            "denylist4" | "blacklist4" | "blacklist" => {
                for text in texts(key, value)? {
                    let (net, _) = super::without_host_bits(text, eam::parse_ipv4(text))?;
                    imported.untranslated.insert(net);
                }
            }
            other => {
                imported.note(eam::cut(other), "xlat does not know this setting");
                continue;
            }
        }
        is_jools |= key != "comment";
    }
    Ok(is_jools)
}

/// The texts of a list; one text, or nothing, stands for a list.
fn texts<'json>(key: &str, value: &'json Value) -> Result<Vec<&'json str>, String> {
    let list = match value {
        Value::Null => return Ok(Vec::new()),
        Value::String(text) => return Ok(vec![text]),
        Value::Array(list) => list,
        _ => return Err(format!("`{key}` is not a list")),
    };
    let text = |value: &'json Value| value.as_str().ok_or_else(|| format!("`{key}` has something that is not a text"));
    list.iter().map(text).collect()
}

fn pool(imported: &mut Imported, key: &str, texts: &[&str]) -> Result<(), String> {
    for text in texts {
        let (pool, _) =
            super::without_host_bits(text, eam::parse_ipv4(text)).map_err(|error| format!("{key}: {error}"))?;
        imported.set_ipv4_pool(key, pool);
    }
    Ok(())
}

/// Keys of an entry.
const ENTRY: [&str; 3] = ["ipv4 prefix", "ipv6 prefix", "comment"];

fn entries(imported: &mut Imported, value: &Value) -> Result<(), String> {
    for (index, entry) in value.as_array().ok_or("`eamt` is not a list")?.iter().enumerate() {
        let place = format!("eamt entry {}", index + 1);
        let text = |key: &str| {
            entry.get(key).and_then(Value::as_str).ok_or_else(|| format!("{place}: `{key}` is missing or not a text"))
        };
        let comment = match entry.get("comment") {
            None | Some(Value::Null) => "",
            Some(Value::String(comment)) => comment,
            Some(_) => {
                imported.note(&place, "its comment is left out: it is not one text");
                ""
            }
        };
        for key in entry.as_object().into_iter().flat_map(Map::keys).filter(|key| !ENTRY.contains(&key.as_str())) {
            imported.note(&place, format!("xlat does not know its `{}`, which is left out", eam::cut(key)));
        }
        imported.map(&place, text("ipv4 prefix")?, text("ipv6 prefix")?, comment)?;
    }
    Ok(())
}

fn globals(imported: &mut Imported, global: &Map<String, Value>) -> Result<(), String> {
    let truth = |key: &str| global.get(key).and_then(Value::as_bool);
    for (key, value) in global {
        match (key.as_str(), value) {
            ("comment", _) | (_, Value::Null) => {}
            ("pool6", Value::String(text)) => imported.prefix("pool6", text)?,
            ("manually-enabled" | "logging-debug" | "trace" | "randomize-rfc6791-addresses", Value::Bool(on)) => {
                switch(imported, key, *on);
            }
            ("lowest-ipv6-mtu", value) => match value.as_u64() {
                Some(mtu @ 1280..=65535) => imported.set("lowest_ipv6_mtu", mtu),
                _ => imported.note(key, format!("{} is not from 1280 to 65535: the default 1280 stands", shown(value))),
            },
            ("zeroize-traffic-class", Value::Bool(true)) => imported.set("traffic_class", "\"zero\""),
            ("override-tos", Value::Bool(true)) => {
                let tos = global.get("tos").and_then(Value::as_u64).unwrap_or(0).min(255);
                imported.set("tos", tos);
            }
            ("tos", _) if truth("override-tos") != Some(true) => {
                imported.note("tos", "it has no effect without override-tos: tos is copied from the traffic class");
            }
            ("amend-udp-checksum-zero", Value::Bool(true)) => imported.set("udp_zero_checksum", "\"compute\""),
            ("zeroize-traffic-class" | "override-tos" | "amend-udp-checksum-zero", Value::Bool(false)) | ("tos", _) => {
            }
            ("mtu-plateaus", Value::Array(mtus)) => plateaus(imported, mtus),
            ("eam-hairpin-mode", value) => hairpin(imported, value),
            ("rfc6791v4-prefix", Value::String(text)) => {
                imported.set_ipv4_pool(key, super::without_host_bits(text, eam::parse_ipv4(text))?.0);
            }
            ("rfc6791v6-prefix", Value::String(text)) => {
                imported.set_ipv6_pool(key, super::without_host_bits(text, eam::parse_ipv6(text))?.0);
            }
            (other, value) => {
                imported.note(eam::cut(other), format!("xlat has nothing like it (value {})", shown(value)));
            }
        }
    }
    Ok(())
}

/// A value as a note repeats it.
fn shown(value: &Value) -> String {
    eam::cut(&value.to_string()).into_owned()
}

fn switch(imported: &mut Imported, key: &str, on: bool) {
    match (key, on) {
        ("manually-enabled", false) => {
            imported.note(key, "xlat has no switch: it translates while the daemon's program is attached");
        }
        ("logging-debug", true) => imported.note(key, "run the daemon with XLAT_LOG=debug"),
        ("trace", true) => imported.note(key, "xlat has no trace of single packets"),
        ("randomize-rfc6791-addresses", true) => {
            imported.note(key, "each router keeps its address of the pool, so that traceroute is stable");
        }
        _ => {}
    }
}

fn hairpin(imported: &mut Imported, value: &Value) {
    let mode = match (value.as_str(), value.as_u64()) {
        (Some("off"), _) | (_, Some(0)) => "off",
        (Some("simple"), _) | (_, Some(1)) => "simple",
        (Some("intrinsic"), _) | (_, Some(2)) => "intrinsic",
        _ => return imported.note("eam-hairpin-mode", format!("{} is no mode: intrinsic stands", shown(value))),
    };
    imported.set("hairpin", format!("\"{mode}\""));
}

fn plateaus(imported: &mut Imported, mtus: &[Value]) {
    const MOST: usize = 16;
    let mut valid: Vec<u64> = mtus.iter().filter_map(Value::as_u64).filter(|mtu| (68..=65535).contains(mtu)).collect();
    valid.sort_unstable_by(|one, other| other.cmp(one));
    valid.dedup();
    valid.truncate(MOST);
    if valid.len() < mtus.len() {
        imported.note("mtu-plateaus", "only MTUs from 68 to 65535 are taken, each once, 16 at most");
    }
    if !valid.is_empty() {
        imported.set("mtu_plateaus", format!("{valid:?}"));
    }
}

/// Lines with an IPv6 and an IPv4 prefix, in any order, with or without a heading.
fn csv(imported: &mut Imported, source: &Source<'_>) -> Result<(), String> {
    let mut is_jools = false;
    for (index, line) in source.text.lines().enumerate() {
        let mut fields: Vec<&str> = line.split([',', ';']).map(|field| field.trim().trim_matches('"')).collect();
        // Of a comma at the end.
        fields.pop_if(|field| field.is_empty());
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        // The first line that says something.
        if !is_jools && fields.iter().any(|field| field.eq_ignore_ascii_case("IPv4 Prefix")) {
            is_jools = true;
            continue;
        }
        let place = format!("line {}", index + 1);
        let ipv6 = fields.iter().find(|field| field.contains(':'));
        let ipv4 = fields.iter().find(|field| field.contains('.') && !field.contains(':'));
        match (ipv4, ipv6) {
            (Some(ipv4), Some(ipv6)) if fields.len() == 2 => {
                imported.map(&place, ipv4, ipv6, "").map_err(|text| format!("{}: {text}", source.name))?;
            }
            _ if is_jools => {
                let name = source.name;
                return Err(format!("{name}: {place}: an IPv6 and an IPv4 prefix belong here, with a comma between"));
            }
            _ => break,
        }
        is_jools = true;
    }
    if is_jools { Ok(()) } else { Err(source.refuse(VERB, WANTED)) }
}
