//! `cargo xtask serve`: the web server that the demo's hosts run. Its one page tells the reader's own address.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result};

/// Where it listens: every address of the host, of either family that the host has.
const ADDRESS: &str = "[::]:80";

/// Serves until it is ended.
pub(crate) fn run() -> Result<()> {
    let listener = TcpListener::bind(ADDRESS).with_context(|| format!("listening on {ADDRESS}"))?;
    for connection in listener.incoming() {
        // A reader that goes away is its own affair; the next one is served.
        let _ = connection.and_then(answer);
    }
    Ok(())
}

fn answer(mut connection: TcpStream) -> std::io::Result<()> {
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = BufReader::new(connection.try_clone()?).lines();
    while request.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let page = page(connection.peer_addr()?, connection.local_addr()?);
    let length = page.len();
    write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
        Connection: close\r\n\r\n{page}"
    )
}

fn page(reader: SocketAddr, server: SocketAddr) -> String {
    let (reader, server) = (reader.ip().to_canonical(), server.ip().to_canonical());
    format!("Hello {reader}! This is {server}, and that is how I see you.\n")
}
