//! `POST /v1/explain`

use axum::{Json, body::Body, extract::State, http::Request};

use super::{openapi::Refused, read};
use crate::{
    api::{self, Code},
    daemon::owner::{Owner, Refusal, refusal},
};

#[utoipa::path(
    post,
    path = "/v1/explain",
    tag = "relay",
    request_body = api::Explain,
    responses((status = 200, body = api::Explained), Refused),
)]
/// What becomes of a packet that nobody has sent.
pub(super) async fn explain(
    State(owner): State<Owner>,
    request: Request<Body>,
) -> Result<Json<Box<api::Explained>>, Refusal> {
    let body = read(request).await?;
    let question: api::Explain = serde_json::from_slice(&body)
        .map_err(|error| refusal(Code::Invalid, format!("the request's body cannot be read: {error}")))?;
    let packet = hex::decode(&question.packet)
        .map_err(|error| refusal(Code::Invalid, format!("explain: the packet is not in hexadecimal: {error}")))?;
    owner.explain(packet, question.interface).await.map(Json)
}
