//! `xlat-ctl lookup`

use std::net::IpAddr;

use clap::Args;

use super::{Common, Failed, client};
use crate::api::{self, Rule};

#[derive(Debug, Args)]
pub(super) struct Lookup {
    /// An IPv4 or IPv6 address
    #[arg(value_parser = address)]
    address: IpAddr,
}

pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "give one IPv4 or IPv6 address, without a length".to_owned())
}

pub(super) fn lookup(common: &Common, lookup: &Lookup) -> Result<(), Failed> {
    let path = format!("/v1/lookup?address={}", lookup.address);
    client::get::<api::Lookup>(common, &path)?.print(common, human);
    Ok(())
}

fn human(answer: &api::Lookup) -> String {
    let rule = match answer.rule {
        Rule::Eam => "eam",
        Rule::Prefix => "prefix",
        Rule::Own => "own",
        Rule::Denied => "denied",
        Rule::Illegal => "illegal",
        Rule::WellKnownPrefix => "well_known_prefix",
        Rule::None => "none",
    };
    let result = answer.result.map_or_else(|| "not translated".to_owned(), |result| result.to_string());
    let mut text = format!("{} → {result}\nrule  {rule}: {}\n", answer.address, answer.detail);
    for other in &answer.alternatives {
        text.push_str(&format!("or    {} by the translation prefix {}, {}\n", other.result, other.prefix, other.when));
    }
    text
}
