//! Who may ask on the loopback interface.

use std::net::{IpAddr, Ipv6Addr};

use axum::{
    extract::Request,
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

/// Refuses requests to another name than this machine's own on its loopback interface: a page from elsewhere, whose name is made to
/// lead here, would read the relay with the browser of somebody who may (DNS rebinding).
pub(super) async fn expect_local(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or_default().to_owned());
    match host {
        Some(host) if !is_local(&host) => {
            let text = "this port is on the loopback interface and answers to an address or to localhost, not to other names\n";
            (StatusCode::MISDIRECTED_REQUEST, text).into_response()
        }
        // A program that names nobody is no browser.
        _ => next.run(request).await,
    }
}

/// Whether a host, with or without a port, is an address or `localhost`.
fn is_local(host: &str) -> bool {
    if let Some(bracketed) = host.strip_prefix('[') {
        return bracketed.split_once(']').is_some_and(|(address, _)| address.parse::<Ipv6Addr>().is_ok());
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name).trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn addresses_and_localhost_are_local() {
        for host in
            ["127.0.0.1:9464", "127.0.0.1", "[::1]:9464", "[::1]", "localhost:9464", "LocalHost.", "a.localhost"]
        {
            assert!(is_local(host), "{host}");
        }
        for host in ["relay.example.net:9464", "localhost.example.net", "127.0.0.1.example.net", "", "[::1", "[name]"] {
            assert!(!is_local(host), "{host}");
        }
    }
}
