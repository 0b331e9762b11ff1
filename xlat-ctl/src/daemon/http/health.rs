//! `/healthz` and `/readyz`, beside the metrics: whether the daemon lives, and whether the relay translates.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::time::timeout;

use crate::daemon::owner::{Owner, Refusal};

/// For so long the owner of the data plane may be busy: with a new program instance, or a large table.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn routes() -> Router<Owner> {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz))
}

async fn healthz(State(owner): State<Owner>) -> Response {
    answer(timeout(PATIENCE, owner.status()).await.map(|status| status.map(|_| ())), "alive")
}

async fn readyz(State(owner): State<Owner>) -> Response {
    answer(timeout(PATIENCE, owner.ready()).await, "ready")
}

fn answer<E>(outcome: Result<Result<(), Refusal>, E>, yes: &str) -> Response {
    let (status, text) = match outcome {
        Ok(Ok(())) => (StatusCode::OK, yes.to_owned()),
        Ok(Err(reason)) => (StatusCode::SERVICE_UNAVAILABLE, format!("not {yes}: {}", reason.message)),
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            (
                StatusCode::SERVICE_UNAVAILABLE,
                format!("not {yes}: the data plane's owner has not answered for {seconds} seconds"),
            )
        }
    };
    (
        status,
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")],
        format!("{text}\n"),
    )
        .into_response()
}
