//! Servers and clients of the lab that need no program.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    os::fd::FromRawFd as _,
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::namespace::Namespace;

/// Bytes without a pattern, always the same for one seed.
#[must_use]
pub fn random_bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A server that answers each connection with the same bytes as an HTTP response, after reading until an empty line; or, to
/// `PUT`, reads to the end and says how many bytes came.
#[derive(Debug)]
pub struct TcpServer;

impl TcpServer {
    /// Starts it on a machine, for as long as the test runs.
    ///
    /// # Errors
    /// The address is in use.
    pub fn start(machine: &Namespace, address: SocketAddr, content: Vec<u8>) -> Result<()> {
        let listener = machine.inside(|| TcpListener::bind(address)).context("listening for TCP")?;
        thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(mut connection) = connection else { return };
                let content = content.clone();
                thread::spawn(move || -> std::io::Result<()> {
                    let mut request = Vec::new();
                    let mut byte = [0];
                    while !request.ends_with(b"\r\n\r\n") && connection.read(&mut byte)? == 1 {
                        request.push(byte[0]);
                    }
                    let content = if request.starts_with(b"PUT") {
                        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
                        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
                        let length: u64 = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
                        let came = std::io::copy(&mut (&mut connection).take(length), &mut std::io::sink())?;
                        came.to_string().into_bytes()
                    } else {
                        content
                    };
                    let header = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", content.len());
                    connection.write_all(header.as_bytes())?;
                    connection.write_all(&content)
                });
            }
        });
        Ok(())
    }
}

/// A server that answers each datagram with one of a given length, and says who asked.
#[derive(Debug)]
pub struct UdpServer {
    asked: mpsc::Receiver<(SocketAddr, Vec<u8>)>,
}

impl UdpServer {
    /// Starts it on a machine, for as long as the test runs.
    ///
    /// # Errors
    /// The address is in use.
    pub fn start(machine: &Namespace, address: SocketAddr, answer: Vec<u8>) -> Result<Self> {
        let socket = machine.inside(|| UdpSocket::bind(address)).context("listening for UDP")?;
        let (sender, asked) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                if socket.send_to(&answer, from).is_err() || sender.send((from, buffer[..len].to_vec())).is_err() {
                    return;
                }
            }
        });
        Ok(Self { asked })
    }

    /// The next question: who asked, and what.
    ///
    /// # Errors
    /// None comes within ten seconds.
    pub fn asked(&self) -> Result<(SocketAddr, Vec<u8>)> {
        self.asked.recv_timeout(Duration::from_secs(10)).context("waiting for a question")
    }
}

/// Sends a datagram from a machine and waits for the answer.
///
/// # Errors
/// None comes within ten seconds, or the network says that there will be none.
pub fn ask(machine: &Namespace, server: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    machine.inside(|| {
        let any: SocketAddr = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().expect("an address");
        let socket = UdpSocket::bind(any)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        socket.connect(server)?;
        socket.send(question)?;
        let mut buffer = vec![0; 65536];
        let len = socket.recv(&mut buffer)?;
        buffer.truncate(len);
        Ok(buffer)
    })
}

/// Sends a packet from a machine exactly as it is, from its IP header on; the kernel chooses the way by the destination in it.
///
/// # Errors
/// The kernel refuses it.
pub fn send_packet(machine: &Namespace, packet: &[u8]) -> std::io::Result<()> {
    let (family, destination): (_, IpAddr) = match packet[0] >> 4 {
        4 => (libc::AF_INET, <[u8; 4]>::try_from(&packet[16..20]).expect("4 bytes").into()),
        _ => (libc::AF_INET6, <[u8; 16]>::try_from(&packet[24..40]).expect("16 bytes").into()),
    };
    machine.inside(|| {
        // SAFETY: a call with numbers only; the descriptor is new, and nobody else has it.
        let socket = unsafe {
            let socket = libc::socket(family, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::IPPROTO_RAW);
            if socket < 0 {
                return Err(std::io::Error::last_os_error());
            }
            // A socket address is the same to the kernel whatever the protocol, and so is a send.
            UdpSocket::from_raw_fd(socket)
        };
        socket.send_to(packet, (destination, 0)).map(|_| ())
    })
}
