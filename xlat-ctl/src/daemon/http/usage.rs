//! The calls that show how much single entries are used.

use std::time::Duration;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::openapi::Refused;
use crate::{
    api::{self, Code},
    daemon::owner::{Owner, Refusal, refusal},
};

/// Seconds that rates are measured for at most.
const LONGEST: u64 = 20;

/// Seconds without use that can be asked for: a century.
const MOST_IDLE: u64 = 3_155_760_000;

/// Checks a number of a query; `name` is the call's and the number's.
pub(super) fn number(name: &str, asked: u64, most: u64) -> Result<u64, Refusal> {
    if (1..=most).contains(&asked) {
        return Ok(asked);
    }
    Err(refusal(Code::Invalid, format!("{name} = {asked}: give a number from 1 to {most}")))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RatesQuery {
    /// How long to measure, in seconds; 1 when nothing is said.
    #[param(minimum = 1, maximum = 20)]
    seconds: Option<u64>,
    /// How many entries to show; 20 when nothing is said.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
}

#[utoipa::path(
    get,
    path = "/v1/eam/rates",
    tag = "table",
    params(RatesQuery),
    responses((status = 200, body = api::EamRates), Refused),
)]
/// The busiest entries, measured for some time, which the answer takes.
pub(super) async fn eam_rates(
    State(owner): State<Owner>,
    query: Result<Query<RatesQuery>, QueryRejection>,
) -> Result<Json<api::EamRates>, Refusal> {
    let Query(query) = query?;
    let seconds = number("eam rates: seconds", query.seconds.unwrap_or(1), LONGEST)?;
    let limit = number("eam rates: limit", query.limit.unwrap_or(20), api::SHOWN_ENTRIES)? as usize;
    owner.rates(Duration::from_secs(seconds), limit).await.map(Json)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct IdleQuery {
    /// For how many seconds nobody has used them.
    #[param(minimum = 1, maximum = 3_155_760_000_u64)]
    seconds: u64,
    /// How many entries to show; 10000 when nothing is said.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
}

#[utoipa::path(
    get,
    path = "/v1/eam/idle",
    tag = "table",
    params(IdleQuery),
    responses((status = 200, body = api::EamIdle), Refused),
)]
/// Entries that nobody has used for some time. One that has been counted for a shorter time is not called idle.
pub(super) async fn eam_idle(
    State(owner): State<Owner>,
    query: Result<Query<IdleQuery>, QueryRejection>,
) -> Result<Json<api::EamIdle>, Refusal> {
    let Query(query) = query?;
    let seconds = number("eam idle: seconds", query.seconds, MOST_IDLE)?;
    let limit = number("eam idle: limit", query.limit.unwrap_or(api::SHOWN_ENTRIES), api::SHOWN_ENTRIES)? as usize;
    owner.idle(seconds, limit).await.map(Json)
}
