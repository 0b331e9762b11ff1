//! The share of IPv6: the call, and what the status page shows of it.

use std::collections::{BTreeMap, HashMap};

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use serde::Deserialize;
use utoipa::IntoParams;
use xlat_common::account::Record;

use super::{
    eams::parse_prefix,
    openapi::{self, Refused},
    usage::number,
};
use crate::{
    api::{self, Code, EamTraffic, ShareDay, ShareOf, ShareService, ShareTraffic},
    daemon::{
        owner::{Owner, Prefix, Refusal, Shared, busiest_first, refusal},
        store::share::{self, DAY},
        time::utc,
    },
    dataplane::Counted,
    eam::Pair,
    plot,
};

/// Days that can be asked for: two years.
const LONGEST: u64 = 731;
/// Days when nothing is said.
const DAYS: u64 = 30;
/// Days of the status page's picture.
const PICTURED: u64 = 366;
/// Services when nothing is said.
const SHOWN: u64 = 20;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ShareQuery {
    /// How many days, the present one among them; 30 when nothing is said.
    #[param(minimum = 1, maximum = 731)]
    days: Option<u64>,
    /// IPv4 or IPv6 prefix of an entry, to see that one alone.
    #[param(value_type = Option<openapi::Prefix>)]
    service: Option<String>,
    /// How many services to show; 20 when nothing is said.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
}

#[utoipa::path(
    get,
    path = "/v1/share",
    tag = "table",
    params(ShareQuery),
    responses((status = 200, body = api::Share), Refused),
)]
/// How much of the services' traffic is translated and how much is IPv6 from end to end, by day.
pub(super) async fn share(
    State(owner): State<Owner>,
    query: Result<Query<ShareQuery>, QueryRejection>,
) -> Result<Json<api::Share>, Refusal> {
    let Query(query) = query?;
    let days = number("share: days", query.days.unwrap_or(DAYS), LONGEST)?;
    let service = named(query.service.as_deref())?;
    let limit = number("share: limit", query.limit.unwrap_or(SHOWN), api::SHOWN_ENTRIES)? as usize;
    answer(&owner, days, service, limit).await.map(Json)
}

fn named(service: Option<&str>) -> Result<Option<Prefix>, Refusal> {
    let service = service.map(parse_prefix).transpose();
    service.map_err(|text| refusal(Code::Invalid, format!("share: {text}")))
}

/// The share of some days, as the call gives it, with so many services.
async fn answer(owner: &Owner, days: u64, service: Option<Prefix>, limit: usize) -> Result<api::Share, Refusal> {
    let Shared { day: today, whole, mut services, service, directory } = owner.share(service, limit > 0).await?;
    let since = today + 1 - days as i64;
    let by_service = service.is_none() && limit > 0;
    let read = tokio::task::spawn_blocking(move || {
        let (mut days, before) = share::read(&directory, since, today, service.as_ref(), by_service)?;
        days.insert(today, whole);
        for (pair, counted) in before {
            if let Some(pair) = pair {
                *services.entry(pair).or_default() += counted;
            }
        }
        Ok::<_, String>(summed(&days, services, limit))
    });
    let failed = |reason: String| refusal(Code::Failed, format!("share: {reason}"));
    read.await.map_err(|error| failed(error.to_string()))?.map_err(failed)
}

/// The days before now as a picture, for the status page: of one service, or of all. `None`: native IPv6 is not counted.
pub(super) async fn picture(owner: &Owner, service: Option<&str>) -> Result<Option<String>, Refusal> {
    match answer(owner, PICTURED, named(service)?, 0).await {
        Ok(share) => Ok(Some(plot::svg(&share.days))),
        Err(refusal) if refusal.code == Code::Conflict => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

fn summed(days: &BTreeMap<i64, Counted>, services: HashMap<Pair, Counted>, limit: usize) -> api::Share {
    let mut total = Counted::default();
    days.values().for_each(|counted| total += *counted);
    let day = |(day, counted): (&i64, &Counted)| {
        let day = utc(day * DAY).chars().take_while(|letter| *letter != 'T').collect();
        ShareDay { day, traffic: of(counted) }
    };
    let services = busiest_first(services);
    let omitted = services.len().saturating_sub(limit) as u64;
    let service =
        |(pair, counted): &(Pair, Counted)| ShareService { ipv4: pair.ipv4(), ipv6: pair.ipv6(), traffic: of(counted) };
    api::Share {
        days: days.iter().map(day).collect(),
        total: of(&total),
        services: services.iter().take(limit).map(service).collect(),
        omitted,
    }
}

fn of(Counted { translated, native }: &Counted) -> ShareOf {
    ShareOf { translated: traffic(translated), native: traffic(native) }
}

fn traffic(record: &Record) -> ShareTraffic {
    let [to_service, from_service] =
        record.traffic.map(|traffic| EamTraffic { packets: traffic.packets, bytes: traffic.bytes });
    ShareTraffic { to_service, from_service }
}
