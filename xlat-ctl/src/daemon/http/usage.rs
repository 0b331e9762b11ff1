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

/// Checks how many entries are asked for.
fn limit(verb: &str, asked: Option<u64>, otherwise: usize) -> Result<usize, Refusal> {
    let Some(asked) = asked else { return Ok(otherwise) };
    match usize::try_from(asked) {
        Ok(limit) if (1..=api::SHOWN_ENTRIES).contains(&limit) => Ok(limit),
        _ => {
            let most = api::SHOWN_ENTRIES;
            Err(refusal(Code::Invalid, format!("{verb}: limit = {asked}: give a number from 1 to {most}")))
        }
    }
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
    let seconds = query.seconds.unwrap_or(1);
    if !(1..=LONGEST).contains(&seconds) {
        let text = format!("eam rates: seconds = {seconds}: give a number from 1 to {LONGEST}");
        return Err(refusal(Code::Invalid, text));
    }
    let limit = limit("eam rates", query.limit, 20)?;
    owner.rates(Duration::from_secs(seconds), limit).await.map(Json)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct IdleQuery {
    /// For how many seconds nobody has used them.
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
    owner.idle(query.seconds, limit("eam idle", query.limit, api::SHOWN_ENTRIES)?).await.map(Json)
}
