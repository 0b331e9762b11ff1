//! Packets out of traces.

use super::*;

/// The packet of a trace is the one that was asked for, and the trace may be of either format.
#[test]
fn takes_a_packet_out_of_a_trace() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    warm_up(&lab);
    let frame = |packet: &Packet| [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0][..], &packet.bytes()].concat();
    let frames = [
        frame(&ip4(CLIENT, "198.51.100.99").udp(1, 2, b"x")),
        frame(&ip4(CLIENT, SERVER_SEEN).udp(4711, 53, b"question")),
    ];
    for (name, content) in [("trace.pcap", pcap(&frames)), ("trace.pcapng", pcapng(&frames))] {
        let path = daemon.directory().join(name);
        fs::write(&path, content).expect("a trace");
        let argument = |number: usize| format!("--pcap {} --packet {number} --in inet4", path.display());
        assert_eq!(outcome(&explain(&lab, &daemon, &argument(1))), ("passed", ""), "{name}");
        let second = explain(&lab, &daemon, &argument(2));
        assert_eq!(
            (outcome(&second), field(&second, "destination port")),
            (("redirected", ""), ("53", "53")),
            "{name}"
        );
        let said = daemon.ctl(&lab.relay, &format!("explain {}", argument(3)));
        assert!(!said.success && said.stderr.contains("there is no packet 3, it has 2"), "{name}: {}", said.stderr);
    }
}

/// A trace as tcpdump writes it.
#[test]
fn takes_a_packet_that_tcpdump_saw() {
    let (lab, daemon) = Lab::with_daemon().expect("a lab with a daemon");
    let path = daemon.directory().join("tcpdump.pcap");
    let words = [
        "--interface",
        "eth0",
        "--immediate-mode",
        "-U",
        "-c",
        "1",
        "-w",
        &path.to_string_lossy(),
        "icmp[icmptype]==8",
    ];
    let mut dump = lab.client.start("tcpdump", &words, &daemon.directory().join("tcpdump.log")).expect("tcpdump");
    let begin = Instant::now();
    while dump.ended().expect("its state").is_none() {
        assert!(begin.elapsed() < Duration::from_secs(20), "tcpdump saw no echo request");
        let _ = lab.client.run(&format!("ping -n -c 1 -W 1 {SERVER_SEEN}"));
    }
    let explained = explain(&lab, &daemon, &format!("--pcap {}", path.display()));
    assert_eq!((outcome(&explained), &explained["interface"]), (("redirected", ""), &"inet4".into()));
    assert_eq!(field(&explained, "type"), ("8 echo request", "128 echo request"));
}

fn little(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = little(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1]);
    for frame in frames {
        file.extend(little(&[0, 0, frame.len() as u32, frame.len() as u32]));
        file.extend(frame);
    }
    file
}

fn pcapng(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = little(&[0x0a0d_0d0a, 28, 0x1a2b_3c4d, 1, u32::MAX, u32::MAX, 28]);
    file.extend(little(&[1, 20, 1, 65_535, 20]));
    for frame in frames {
        let padded = frame.len().next_multiple_of(4);
        let length = 32 + padded as u32;
        file.extend(little(&[6, length, 0, 0, 0, frame.len() as u32, frame.len() as u32]));
        file.extend(frame);
        file.resize(file.len() + padded - frame.len(), 0);
        file.extend(little(&[length]));
    }
    file
}
