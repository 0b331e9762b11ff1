//! A TCP port in front of a Unix socket, for programs that know only the former.

use std::{
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, Result};

/// Listens on a free port of this machine's loopback and passes each connection on to a Unix socket, as long as this process
/// lives.
///
/// # Errors
/// Nothing can be listened on.
pub fn forward(socket: &Path) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("listening on the loopback interface")?;
    let address = listener.local_addr()?;
    let socket = socket.to_owned();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let socket: PathBuf = socket.clone();
            thread::spawn(move || pass(client, &socket));
        }
    });
    Ok(address)
}

/// Both ways at once. A fault on one side is the end of the connection, which the other side sees.
fn pass(client: TcpStream, socket: &Path) -> Option<()> {
    let daemon = UnixStream::connect(socket).ok()?;
    let (mut from, mut to) = (client.try_clone().ok()?, daemon.try_clone().ok()?);
    let there = thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut from, mut to) = (daemon, client);
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
    there.join().ok()
}
