//! The description of the control socket's API (OpenAPI 3.1), made from the code that serves it. `docs/openapi.json` is the
//! same text.

use std::collections::BTreeMap;

use axum::{Json, http::StatusCode};
use utoipa::{
    IntoResponses, Modify, OpenApi, PartialSchema, ToSchema,
    openapi::{
        Content, PathItem, RefOr, Response, ResponseBuilder,
        schema::{AnyOfBuilder, KnownFormat, ObjectBuilder, OneOfBuilder, Ref, Schema, SchemaFormat, Type},
    },
};

use super::status_of;
use crate::{
    api::{Code, Failure},
    eam::Origin,
    eam_file::Format,
};

#[derive(OpenApi)]
#[openapi(
    modifiers(&Described),
    info(
        title = "xlat",
        description = "The daemon of the IPv4/IPv6 translator xlat, on its control socket: HTTP over a Unix socket."
    ),
    servers((url = "http://xlat", description = "The Unix socket; the host's name is not looked at.")),
    tags(
        (name = "relay", description = "The relay and what passes through it"),
        (name = "table", description = "The table of explicit address mappings"),
        (name = "history", description = "The changes of the table"),
    ),
    paths(
        super::status,
        super::reload,
        super::stats,
        super::lookup,
        super::explain::explain,
        super::capture::capture,
        super::list::eam_list,
        super::eams::eam_add,
        super::eams::eam_del,
        super::whole::eam_apply,
        super::eams::eam_find,
        super::whole::eam_rollback,
        super::eams::eam_history,
        super::eams::eam_show,
        super::usage::eam_rates,
        super::usage::eam_idle,
        super::share::share,
        document,
    ),
    components(schemas(Failure, Address, Prefix, Format))
)]
struct Api;

/// Describes the answers that say all by what is in them: without a description a response is none (OpenAPI 3.1, 4.8.17).
struct Described;

impl Modify for Described {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for path in document.paths.paths.values_mut() {
            let PathItem { get, put, post, delete, .. } = path;
            let operations = [get, put, post, delete].into_iter().flatten();
            for (status, response) in operations.flat_map(|operation| &mut operation.responses.responses) {
                let status: Option<StatusCode> = status.parse().ok();
                if let (RefOr::T(response), Some(status)) = (response, status)
                    && response.description.is_empty()
                {
                    response.description = status.canonical_reason().unwrap_or_default().to_owned();
                }
            }
        }
    }
}

#[utoipa::path(get, path = "/v1/openapi.json", tag = "relay", responses((status = 200, body = serde_json::Value)))]
/// This description.
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Api::openapi())
}

/// Every answer that is a refusal.
pub(super) struct Refused;

impl IntoResponses for Refused {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let answer = |code: &Code| {
            let status = status_of(*code);
            let content = Content::new(Some(Ref::from_schema_name(Failure::name())));
            let description = status.canonical_reason().unwrap_or_default();
            let response = ResponseBuilder::new().description(description).content("application/json", content);
            (status.as_u16().to_string(), RefOr::T(response.build()))
        };
        Code::ALL.iter().map(answer).collect()
    }
}

/// An IPv4 or IPv6 address in a query.
pub(super) struct Address;

impl PartialSchema for Address {
    fn schema() -> RefOr<Schema> {
        let of =
            |format| ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(format)));
        OneOfBuilder::new().item(of(KnownFormat::Ipv4)).item(of(KnownFormat::Ipv6)).into()
    }
}

impl ToSchema for Address {}

/// An IPv4 or IPv6 prefix in a query.
pub(super) struct Prefix;

impl PartialSchema for Prefix {
    fn schema() -> RefOr<Schema> {
        let with_length =
            ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[0-9A-Fa-f:.]{2,45}/[0-9]{1,3}$"));
        AnyOfBuilder::new().item(Address::schema()).item(with_length).into()
    }
}

impl ToSchema for Prefix {}

/// The table as a JSON file.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it describes what eam_file reads")]
pub(super) struct EamFile {
    /// The number that a list has; it does not matter here.
    revision: Option<u64>,
    /// The entries.
    entries: Vec<EamLine>,
}

/// One entry of a JSON file.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it describes what eam_file reads")]
pub(super) struct EamLine {
    /// IPv4 address or prefix.
    ipv4: String,
    /// IPv6 address or prefix.
    ipv6: String,
    /// One line of at most 256 bytes.
    #[serde(default)]
    comment: String,
    /// Where the entry came from; it does not matter here.
    origin: Option<Origin>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");

    #[test]
    fn a_captures_bounds_are_those_that_hold() {
        let document = serde_json::to_value(Api::openapi()).unwrap();
        let parameters = document["paths"]["/v1/capture"]["get"]["parameters"].as_array().unwrap();
        let bounds = |name: &str| {
            let parameter = parameters.iter().find(|parameter| parameter["name"] == name).unwrap();
            let bound = |key: &str| parameter["schema"][key].as_f64().unwrap() as u64;
            bound("minimum")..=bound("maximum")
        };
        let wide = |range: std::ops::RangeInclusive<u32>| u64::from(*range.start())..=u64::from(*range.end());
        assert_eq!(bounds("duration"), capture::DURATION);
        assert_eq!(bounds("snaplen"), wide(capture::SNAPLEN));
        assert_eq!(bounds("rate"), wide(capture::RATE));
        let usual = capture::Query::default();
        assert_eq!((usual.duration, usual.snaplen, usual.rate), (600, 2048, 1000), "as its description says");
    }

    #[test]
    fn every_response_is_described() {
        let document = serde_json::to_value(Api::openapi()).unwrap();
        let paths = document["paths"].as_object().unwrap().values();
        let operations = paths.flat_map(|path| path.as_object().unwrap().values());
        let responses: Vec<_> = operations
            .filter_map(|operation| operation["responses"].as_object())
            .flat_map(|responses| responses.values())
            .collect();
        assert!(responses.len() > 100, "{}", responses.len());
        assert!(responses.iter().all(|response| response["description"].as_str().is_some_and(|text| !text.is_empty())));
    }

    #[test]
    fn the_description_in_the_documents_is_that_of_the_code() {
        let made = Api::openapi().to_pretty_json().unwrap() + "\n";
        if std::env::var_os("XLAT_WRITE_OPENAPI").is_some() {
            std::fs::write(FILE, &made).unwrap();
        }
        let there = std::fs::read_to_string(FILE).unwrap_or_default();
        assert!(
            there == made,
            "docs/openapi.json is not what the code says: XLAT_WRITE_OPENAPI=1 cargo test -p xlat-ctl openapi"
        );
    }

    #[test]
    fn every_call_is_described() {
        let described = Api::openapi().paths.paths;
        let served: Vec<&str> = include_str!("mod.rs")
            .split(".route(\"")
            .skip(1)
            .filter_map(|rest| rest.split_once('"').map(|(path, _)| path))
            .filter(|path| path.starts_with("/v1/"))
            .collect();
        assert!(served.len() >= described.len(), "{served:?}");
        for path in &served {
            assert!(described.contains_key(*path), "{path} has no #[utoipa::path]: it belongs into the list above");
        }
    }
}
