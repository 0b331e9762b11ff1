//! What both relays are told, and the same for the second translator of the tests.

use anyhow::{Context as _, Result, anyhow};
use ipnet::{Ipv4Net, Ipv6Net};
use xlat_ctl::config;

use crate::{
    fuzz::configs,
    harness,
    reference::{Config, Eam, Scope},
};

/// The plain translator of RFC 7915, for which the translation prefix alone is enough, as Jool always is.
const CHANGES: &str = "
translation.scope = 'all'
control.socket = '/SOCKET'
state.directory = '/STATE'
";

/// One configuration in three forms.
#[derive(Clone, Debug)]
pub struct Settings {
    /// xlat's configuration file.
    pub xlat: String,
    /// Jool's pool6.
    pub prefix: Ipv6Net,
    /// The table.
    pub eams: Vec<(Ipv4Net, Ipv6Net)>,
    /// Jool's rfc6791v4-prefix.
    pub ipv4_pool: Option<Ipv4Net>,
    /// The second translator's.
    pub reference: Config,
}

/// The settings for the rows of the conformance table.
///
/// # Errors
/// They are refused.
pub fn of_rows() -> Result<Settings> {
    of(harness::settings(CHANGES))
}

/// The settings for the corpus and for random packets: the table of the fuzzer's default configuration.
///
/// # Errors
/// They are refused.
pub fn of_fuzzing() -> Result<Settings> {
    let mut table: toml::Table = harness::settings(CHANGES).parse().context("the settings")?;
    let own: toml::Table = default_relay()?.toml().parse().context("the fuzzer's configuration")?;
    table.insert("eam".to_owned(), own["eam"].clone());
    of(table.to_string())
}

/// The fuzzer's default configuration.
///
/// # Errors
/// It has none.
pub fn default_relay() -> Result<configs::Named> {
    configs::all().into_iter().find(|named| named.name == "default").context("no default configuration")
}

fn of(xlat: String) -> Result<Settings> {
    let checked = config::parse(&xlat).map_err(|problems| {
        let lines: Vec<&str> = problems.iter().map(|problem| problem.text.as_str()).collect();
        anyhow!("the configuration is refused: {}", lines.join("; "))
    })?;
    let config = checked.config;
    let eams: Vec<_> = config.eams.iter().map(|entry| (entry.pair.ipv4(), entry.pair.ipv6())).collect();
    let prefix = *config.translation.prefixes.first().context("no translation prefix")?;
    let reference = Config {
        eams: eams.iter().map(|&(ipv4, ipv6)| Eam { ipv4, ipv6, prefix: None }).collect(),
        prefixes: vec![prefix],
        ipv4_pool: config.icmp.ipv4_pool.clone(),
        scope: Scope::All,
        ..default_relay()?.config
    };
    Ok(Settings { xlat, prefix, eams, ipv4_pool: config.icmp.ipv4_pool.first().copied(), reference })
}
