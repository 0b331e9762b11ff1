//! What the real program makes of thousands of packets, judged by tshark: a decoder that has nothing to do with xlat.

use xlat_tests::{
    fuzz::{Subject as _, configs, generate, program::RealProgram, random::Random},
    lab::{sound_packets, write_packets},
    notation::{Packet, data, ip4, ip6},
    reference::{Outcome, hex},
};

/// Packets made for each relay.
const PACKETS: usize = 5_000;

/// Where tshark vouches for what comes in, it vouches for what goes out: checksums and lengths, errors of the relay's own
/// included. Other packets go through with the faults that they have.
#[test]
fn finds_no_fault_with_any_packet() {
    let mut program = RealProgram::default();
    let mut random = Random::new(7915);
    let (mut came, mut left) = (Vec::new(), Vec::new());
    // Settings hardly matter to a decoder, and loading a relay takes longer than its packets.
    for relay in configs::all().into_iter().step_by(4) {
        program.configure(&relay).expect("the program runs (this test needs root and BPF)");
        for _ in 0..PACKETS {
            let (family, packet) = generate::packet(&mut random, &relay.config);
            let out = match program.run(family, &packet).expect("the program runs") {
                Outcome::Translate(out) | Outcome::ToKernelTranslated(out) => out.bytes,
                Outcome::Refuse { icmp, .. } => icmp,
                Outcome::Pass | Outcome::Drop(_) | Outcome::Fragment => continue,
            };
            came.push(packet);
            left.push(out);
        }
    }
    let directory = tempfile::tempdir().expect("a directory");
    let (in_file, out_file) = (directory.path().join("in.pcap"), directory.path().join("out.pcap"));
    write_packets(&in_file, &came).expect("writing packets");
    write_packets(&out_file, &left).expect("writing packets");
    let (before, after) = (sound_packets(&in_file), sound_packets(&out_file));
    let broken = before.difference(&after).map(|at| format!("  in  {}\n  out {}", hex(&came[*at]), hex(&left[*at])));
    let broken: Vec<String> = broken.collect();
    let sound = before.len();
    assert!(broken.is_empty(), "{} of {sound} packets have got a fault:\n{}", broken.len(), broken.join("\n"));
    assert!(sound >= 5_000, "only {sound} of {} packets that came in were without fault", came.len());
}

/// tshark does find the faults that the test looks for.
#[test]
fn finds_every_kind_of_fault() {
    const A: &str = "192.0.2.1";
    const B: &str = "2001:db8::1";
    let error = |kind: u8| ip4(A, A).icmp(kind, 0).about(ip4(A, A).udp(1, 2, b"question"));
    let broken = [
        ip4(A, A).udp(1, 2, b"x").bad_header_checksum(),
        ip4(A, A).udp(1, 2, b"x").checksum_off_by(1),
        ip6(B, B).udp(1, 2, b"x").checksum_off_by(1),
        ip4(A, A).tcp(1, 2, b"x").checksum_off_by(1),
        ip6(B, B).tcp(1, 2, b"x").checksum_off_by(1),
        ip4(A, A).dccp(1, 2, b"x").checksum_off_by(1),
        ip4(A, A).echo_request(1, 2, b"x").checksum_off_by(1),
        ip6(B, B).echo_request(1, 2, b"x").checksum_off_by(1),
        error(11).checksum_off_by(1),
        ip4(A, A).icmp(11, 0).about(ip4(A, A).udp(1, 2, b"question").bad_header_checksum()),
        ip4(A, A).udp(1, 2, &data(20)).total_len(100),
        ip6(B, B).udp(1, 2, &data(20)).payload_len(100),
        ip4(A, A).tcp(1, 2, b"").byte(12, 0x10),
        ip4(A, A).udp(1, 2, &data(20)).byte(5, 7),
        ip4(A, A).udp(1, 2, &data(20)).byte(5, 200),
    ];
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("broken.pcap");
    write_packets(&file, &broken.iter().map(Packet::bytes).collect::<Vec<_>>()).expect("writing packets");
    let sound: Vec<&Packet> = sound_packets(&file).into_iter().map(|at| &broken[at]).collect();
    assert!(sound.is_empty(), "no fault is found with {sound:#?}");
}
