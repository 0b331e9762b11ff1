//! The data plane's loader against the real kernel, each test in a network namespace of its own.

mod forwarding;
mod wire;

use std::{
    fs,
    io::{Error, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::PathBuf,
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use ipnet::Ipv6Net;
use xlat_common::{
    counters::{Direction, Protocol, Verdict},
    settings::{Settings, TranslationPrefix},
    table::Entry,
};
use xlat_ctl::{
    dataplane::{
        AttachError, DataPlane, DataPlaneError, Eam, LoadOptions, Pins, TableError, TableInput, XdpMode, remove_pinned,
    },
    netlink,
};

type Watched = tokio::sync::watch::Receiver<Arc<netlink::Machine>>;

const XDP_REDIRECT: u32 = 4;

/// Runs a test in a network namespace that ends with it.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(move || {
        // SAFETY: a system call with a number only; this thread is not shared with other tests.
        let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        assert_eq!(result, 0, "this test makes network namespaces and loads BPF programs: run it as root");
        ip("link set lo up");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `ip` with the words of a line.
fn ip(line: &str) {
    run("ip", line);
}

fn run(program: &str, line: &str) {
    let output =
        Command::new(program).args(line.split_whitespace()).output().expect("the tests need iproute2, ethtool");
    assert!(output.status.success(), "{program} {line}: {}", String::from_utf8_lossy(&output.stderr));
}

fn says(line: &str) -> String {
    let output = Command::new("ip").args(line.split_whitespace()).output().expect("the tests need iproute2");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn sysctl(key: &str, value: &str) {
    fs::write(format!("/proc/sys/net/{key}"), value).unwrap();
}

fn ifindex(name: &str) -> u32 {
    netlink::snapshot().unwrap().interfaces.iter().find(|interface| interface.name == name).unwrap().ifindex
}

fn mac(name: &str) -> [u8; 6] {
    netlink::snapshot().unwrap().interfaces.iter().find(|interface| interface.name == name).unwrap().mac
}

/// Two wires: `v4` and `v6` are the relay's, `c4` and `c6` their other ends, which take frames from XDP.
fn wires() {
    for (own, other) in [("v4", "c4"), ("v6", "c6")] {
        ip(&format!("link add {own} type veth peer name {other}"));
        for name in [own, other] {
            fs::write(format!("/proc/sys/net/ipv6/conf/{name}/addr_gen_mode"), "1").unwrap();
            fs::write(format!("/proc/sys/net/ipv6/conf/{name}/accept_dad"), "0").unwrap();
            ip(&format!("link set {name} up"));
        }
        run("ethtool", &format!("-K {other} gro on"));
        // What arrives there is looked at, not forwarded by this namespace once more.
        sysctl(&format!("ipv6/conf/{other}/disable_ipv6"), "1");
    }
    ip("addr add 192.0.2.1/24 dev v4");
    ip("addr add 2001:db8:1::1/64 dev v6 nodad");
    let text = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
    ip(&format!("neigh replace 192.0.2.2 lladdr {} nud permanent dev v4", text(mac("c4"))));
    ip(&format!("neigh replace 2001:db8:1::2 lladdr {} nud permanent dev v6", text(mac("c6"))));
    for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        sysctl(key, "1");
    }
}

fn prefix() -> Ipv6Net {
    "2001:db8:6464::/96".parse().unwrap()
}

fn settings() -> Settings {
    let mut settings = Settings { prefix_count: 1, ..Settings::DEFAULT };
    settings.prefixes[0] = TranslationPrefix::new(prefix().network().into(), 96, false);
    settings
}

fn options() -> LoadOptions {
    LoadOptions { max_eams: 100, ..LoadOptions::default() }
}

fn without_fragmenter() -> LoadOptions {
    LoadOptions { fragmenter: false, ..options() }
}

fn eam(ipv4: &str, ipv6: &str) -> Eam {
    Eam { ipv4: ipv4.parse().unwrap(), ipv6: ipv6.parse().unwrap(), prefix: None }
}

fn www() -> TableInput {
    TableInput { eams: vec![eam("198.51.100.10/32", "2001:db8:1::2/128")], ..TableInput::default() }
}

/// A loaded data plane that knows the machine and has one EAM.
fn relay(options: &LoadOptions) -> DataPlane {
    let mut relay = DataPlane::load(&settings(), options).unwrap();
    let machine = netlink::snapshot().unwrap();
    relay.update_machine(&machine).unwrap();
    relay.replace_table(&www(), &machine).unwrap();
    relay
}

fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// A UDP packet with a payload of so many bytes, DF clear.
fn ipv4_udp(payload: usize) -> Vec<u8> {
    let udp_len = payload + 8;
    let mut udp = [&[0x30, 0x39, 0, 53][..], &(udp_len as u16).to_be_bytes(), &[0, 0], &vec![0x5a; payload]].concat();
    let (source, destination) = ([192, 0, 2, 2], [198, 51, 100, 10]);
    let pseudo = [&source[..], &destination, &[0, 17], &(udp_len as u16).to_be_bytes(), &udp].concat();
    let sum = checksum(&pseudo).to_be_bytes();
    udp[6..8].copy_from_slice(&sum);
    let mut header = [0x45, 0, 0, 0, 0x12, 0x34, 0, 0, 64, 17, 0, 0].to_vec();
    header[2..4].copy_from_slice(&((udp_len + 20) as u16).to_be_bytes());
    header.extend([source, destination].concat());
    let sum = checksum(&header).to_be_bytes();
    header[10..12].copy_from_slice(&sum);
    [&mac("v4")[..], &mac("c4"), &[8, 0], &header, &udp].concat()
}

#[test]
fn translates_a_packet_run_by_hand() {
    in_namespace(|| {
        wires();
        let mut relay = relay(&without_fragmenter());
        let machine = netlink::snapshot().unwrap();
        relay.update_machine(&machine).unwrap();
        let (action, frame) = relay.test_run(&ipv4_udp(100), ifindex("v4")).unwrap();
        assert_eq!(action, XDP_REDIRECT);
        assert_eq!(frame[12..14], [0x86, 0xdd]);
        assert_eq!(frame[..6], mac("c6"));
        assert_eq!(frame[14 + 7], 63, "hop limit");
        let source: [u8; 16] = frame[22..38].try_into().unwrap();
        assert_eq!(Ipv6Addr::from(source), "2001:db8:6464::c000:202".parse::<Ipv6Addr>().unwrap());
        let counters = relay.counters().unwrap();
        assert_eq!(counters.traffic(Direction::FourToSix, Protocol::Udp, Verdict::Redirected).packets, 1);
        let info = relay.program_info();
        assert!(info.id > 0 && info.name == "xlat" && info.tag.len() == 16 && info.table_bytes > 0, "{info:?}");
    });
}

#[test]
fn follows_the_table() {
    in_namespace(|| {
        wires();
        let mut relay = relay(&without_fragmenter());
        let becomes_ipv6 = |relay: &DataPlane| {
            let (_, frame) = relay.test_run(&ipv4_udp(10), ifindex("v4")).unwrap();
            frame[12..14] == [0x86, 0xdd]
        };
        assert!(becomes_ipv6(&relay));
        let www = www().eams[0];
        assert!(matches!(relay.insert_eam(&www), Err(DataPlaneError::Table(TableError::Twice { .. }))));
        relay.remove_eam(&www).unwrap();
        assert!(!becomes_ipv6(&relay));
        relay.insert_eam(&eam("198.51.100.0/24", "2001:db8:1::/120")).unwrap();
        assert!(becomes_ipv6(&relay));
        let known = relay.lookup(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 77)));
        assert_eq!((known.flags, known.eam), (Entry::EAM, Some(eam("198.51.100.0/24", "2001:db8:1::/120"))));
        assert_eq!(relay.lookup(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))).flags, Entry::OWN);
        // The sender's address becomes the relay's own.
        ip("addr add 192.0.2.2/32 dev lo");
        relay.update_machine(&netlink::snapshot().unwrap()).unwrap();
        assert!(!becomes_ipv6(&relay));
        ip("addr del 192.0.2.2/32 dev lo");
        relay.update_machine(&netlink::snapshot().unwrap()).unwrap();
        assert!(becomes_ipv6(&relay));
    });
}

#[test]
fn attaches_natively_and_leaves_nothing_behind() {
    in_namespace(|| {
        wires();
        let state = || says("-o link") + &says("-6 route") + &says("route") + &says("-6 rule");
        let before = state();
        let mut relay = relay(&options());
        let v4 = ifindex("v4");
        assert_eq!(relay.attach(v4, "v4", XdpMode::Auto).unwrap(), XdpMode::Native);
        assert_eq!(relay.attached().len(), 1);
        assert!(says("-o link show v4").contains(" xdp "), "{}", says("-o link show v4"));
        let rule = "from all to 2001:db8:6464::/96 iif lo ipproto ipv6-icmp lookup";
        assert!(says("-6 rule").contains(rule), "{}", says("-6 rule"));
        assert!(relay.is_own_interface(ifindex("xlat0")));
        relay.detach(v4).unwrap();
        assert!(!says("-o link show v4").contains("xdp"));
        assert!(matches!(relay.detach(v4), Err(DataPlaneError::NotAttached(_))));
        assert_eq!(relay.attach(v4, "v4", XdpMode::Generic).unwrap(), XdpMode::Generic);
        assert!(says("-o link show v4").contains("xdpgeneric"));
        drop(relay);
        let settled = |text: String| text.replace("xdpgeneric ", "");
        assert_eq!(settled(state()), before);
    });
}

/// As where a driver refuses the new program: the one of before goes on translating.
#[test]
fn counts_what_an_instance_before_goes_on_counting() {
    in_namespace(|| {
        wires();
        let place = PathBuf::from(format!("/sys/fs/bpf/xlat-test-{}-counts", std::process::id()));
        let pins = Some(Arc::new(Pins::open(&place).unwrap()));
        let options = LoadOptions { pins, ..without_fragmenter() };
        let udp = |relay: &DataPlane| {
            relay.counters().unwrap().traffic(Direction::FourToSix, Protocol::Udp, Verdict::Redirected).packets
        };
        let first = relay(&options);
        first.test_run(&ipv4_udp(100), ifindex("v4")).unwrap();
        let mut second = relay(&options);
        second.test_run(&ipv4_udp(100), ifindex("v4")).unwrap();
        let counted = [udp(&first), udp(&second)];
        first.test_run(&ipv4_udp(100), ifindex("v4")).unwrap();
        let later = udp(&second);
        let is_over = second.finish_take_over(|_| true);
        let over = udp(&second);
        drop((first, second, options));
        remove_pinned(&place).unwrap();
        assert!(is_over.unwrap());
        assert_eq!((counted, later, over), ([1, 2], 3, 3));
    });
}

/// As where a driver refuses every new program: no change of the table leaves an instance behind.
#[test]
fn an_instance_that_is_attached_nowhere_goes_though_an_older_one_is_attached() {
    in_namespace(|| {
        wires();
        let place = PathBuf::from(format!("/sys/fs/bpf/xlat-test-{}-stuck", std::process::id()));
        let pins = Arc::new(Pins::open(&place).unwrap());
        let options = LoadOptions { pins: Some(Arc::clone(&pins)), ..without_fragmenter() };
        let counted = |relay: &DataPlane| {
            relay.counters().unwrap().traffic(Direction::FourToSix, Protocol::Udp, Verdict::Redirected).packets
        };
        let instances = || {
            let names = fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name.starts_with("instance-")).count()
        };
        let attach = |relay: &mut DataPlane, name: &str| relay.attach(ifindex(name), name, XdpMode::Native).unwrap();
        let mut stuck = relay(&options);
        attach(&mut stuck, "v4");
        attach(&mut stuck, "v6");
        stuck.test_run(&ipv4_udp(100), ifindex("v4")).unwrap();
        let mut current = relay(&options);
        attach(&mut current, "v4");
        let mut seen = Vec::new();
        for _ in 0..3 {
            current.test_run(&ipv4_udp(100), ifindex("v4")).unwrap();
            let mut next = relay(&options);
            attach(&mut next, "v4");
            let is_over = next.finish_take_over(|_| true).unwrap();
            next.let_go_of(&current).unwrap();
            current = next;
            seen.push((is_over, instances(), counted(&current)));
        }
        attach(&mut current, "v6");
        let over = (current.finish_take_over(|_| true).unwrap(), instances(), counted(&current));
        drop((stuck, current, options, pins));
        remove_pinned(&place).unwrap();
        assert_eq!(seen, [(false, 2, 2), (false, 2, 3), (false, 2, 4)]);
        assert_eq!(over, (true, 1, 4));
    });
}

#[test]
fn takes_nobodys_place() {
    in_namespace(|| {
        wires();
        let mut first = relay(&without_fragmenter());
        let mut second = relay(&without_fragmenter());
        let v4 = ifindex("v4");
        first.attach(v4, "v4", XdpMode::Auto).unwrap();
        let refused = second.attach(v4, "v4", XdpMode::Auto).unwrap_err();
        let (AttachError::Occupied { program, mode, .. }, info) = (&refused, first.program_info()) else {
            panic!("{refused}");
        };
        assert_eq!(*mode, "native");
        assert_eq!(*program, format!("id {}, name xlat, tag {}", info.id, info.tag));
        assert!(matches!(second.attach(v4, "v4", XdpMode::Generic), Err(AttachError::Occupied { .. })));
        drop(first);
        second.attach(v4, "v4", XdpMode::Auto).unwrap();
        let gone = second.attach(9999, "v9", XdpMode::Auto).unwrap_err();
        assert!(matches!(gone, AttachError::Gone { .. }), "{gone}");
        let beyond = second.attach(16_384, "v9", XdpMode::Auto).unwrap_err();
        assert!(matches!(beyond, AttachError::Index { .. }), "{beyond}");
    });
}

#[test]
fn a_second_relay_in_one_namespace_needs_another_fragmenter() {
    in_namespace(|| {
        let first = relay(&options());
        let refused = DataPlane::load(&settings(), &options()).err().unwrap();
        assert_eq!(
            refused.to_string(),
            "the fragmenter (the veth pair xlat0) cannot be set up: an interface of this name is there already: does \
             another relay run here?"
        );
        let other = LoadOptions { fragmenter_name: "xlat1".to_owned(), ..options() };
        let second = DataPlane::load(&settings(), &other).unwrap();
        drop((first, second));
        assert_eq!(netlink::snapshot().unwrap().interfaces.len(), 1);
    });
}

#[test]
fn fills_a_large_table_fast() {
    in_namespace(|| {
        let count: u32 = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
        let options = LoadOptions { max_eams: count, ..without_fragmenter() };
        let mut relay = DataPlane::load(&settings(), &options).unwrap();
        let eams = (0..count).map(|number| Eam {
            ipv4: Ipv4Addr::from(number.wrapping_mul(0x9e37_79b1)).into(),
            ipv6: Ipv6Addr::from((0x2001_0db8 << 96) | u128::from(number.wrapping_mul(0x85eb_ca6b))).into(),
            prefix: None,
        });
        let input = TableInput { eams: eams.collect(), ..TableInput::default() };
        let machine = netlink::snapshot().unwrap();
        let start = Instant::now();
        relay.replace_table(&input, &machine).unwrap();
        println!("{count} EAMs in {:?}, {} bytes of tables", start.elapsed(), relay.program_info().table_bytes);
        assert!(start.elapsed() < Duration::from_secs(5));
        let last = input.eams.last().unwrap();
        assert_eq!(relay.lookup(last.ipv4.addr().into()).eam, Some(*last));
    });
}
