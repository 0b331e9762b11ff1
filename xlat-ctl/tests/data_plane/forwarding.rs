//! What comes out of the relay's wires.

use super::{wire::Wire, *};

/// Real frames through real wires.
fn send_through(payload: usize, pieces: usize, prepare: impl FnOnce(&mut DataPlane)) -> Vec<Vec<u8>> {
    wires();
    let mut relay = relay(&options());
    prepare(&mut relay);
    for name in ["v4", "v6"] {
        relay.attach(ifindex(name), name, XdpMode::Native).unwrap();
    }
    let (client, server) = (Wire::open("c4"), Wire::open("c6"));
    client.send(&ipv4_udp(payload));
    let frames = server.receive(pieces + 1);
    if frames.len() != pieces {
        let counters = relay.counters().unwrap();
        println!("{counters:?}\n{}", says("-s -s link"));
    }
    frames
}

#[test]
fn redirects_from_wire_to_wire() {
    in_namespace(|| {
        let frames = send_through(100, 1, |_| {});
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0].len(), 14 + 40 + 8 + 100);
        assert_eq!(frames[0][14 + 7], 63, "hop limit");
    });
}

#[test]
fn fragments_what_does_not_fit() {
    in_namespace(|| {
        let frames = send_through(1400, 2, |_| {});
        assert_eq!(frames.len(), 2);
        let mut payload = 0;
        for frame in &frames {
            assert_eq!(frame[14 + 6], 44, "a Fragment Header follows");
            assert_eq!(frame[14 + 7], 63, "hop limit");
            assert!(frame.len() <= 14 + 1280);
            payload += frame.len() - 14 - 40 - 8;
        }
        assert_eq!(payload, 1408);
    });
}

#[test]
fn fragments_for_every_way_whatever_the_mtu() {
    in_namespace(|| {
        wires();
        let settings = Settings { lowest_ipv6_mtu: 1500, ..settings() };
        let mut relay = DataPlane::load(&settings, &options()).unwrap();
        let (client, server) = (Wire::open("c4"), Wire::open("c6"));
        for mtu in [1500, 1400, 1500] {
            ip(&format!("link set v6 mtu {mtu}"));
            let machine = netlink::snapshot().unwrap();
            relay.update_machine(&machine).unwrap();
            relay.replace_table(&www(), &machine).unwrap();
            for name in ["v4", "v6"] {
                relay.attach(ifindex(name), name, XdpMode::Native).unwrap();
            }
            client.send(&ipv4_udp(1470));
            let lens: Vec<usize> = server.receive(3).iter().map(|frame| frame.len() - 14).collect();
            assert_eq!((lens.len(), lens[0]), (2, 1280), "{mtu}: {lens:?}");
        }
    });
}

/// Waits 20 seconds at most for news.
async fn wait_for(machine: &mut Watched, wanted: impl Fn(&netlink::Machine) -> bool) {
    let waiting = machine.wait_for(|machine| wanted(machine));
    let came = tokio::time::timeout(Duration::from_secs(20), waiting).await.is_ok();
    assert!(came, "20 seconds later: {:#?}", machine.borrow());
}

#[tokio::test]
async fn follows_the_machine() {
    let (done, result) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        in_namespace(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut machine = netlink::watch().await.unwrap();
                let names = |machine: &netlink::Machine| {
                    machine.interfaces.iter().map(|interface| interface.name.clone()).collect::<Vec<_>>()
                };
                assert_eq!(names(&machine.borrow_and_update()), ["lo"]);
                ip("link add veth0 type veth peer name veth1");
                ip("link set veth0 mtu 1400 up");
                ip("addr add 192.0.2.7/24 dev veth0");
                ip("addr add 2001:db8::7/64 dev veth0 nodad");
                ip("link set veth1 up");
                run("ethtool", "-K veth1 gro on");
                let expected = |machine: &netlink::Machine| {
                    let find = |name: &str| machine.interfaces.iter().find(|interface| interface.name == name);
                    let Some(veth) = find("veth0") else { return false };
                    veth.mtu == 1400
                        && veth.up
                        && veth.kind.as_deref() == Some("veth")
                        && veth.ipv4 == ["192.0.2.7/24".parse().unwrap()]
                        && veth.ipv6.contains(&"2001:db8::7/64".parse().unwrap())
                        && veth.takes_xdp_frames() == Some(true)
                };
                wait_for(&mut machine, expected).await;
                // A peer that is no longer prepared to take frames.
                run("ethtool", "-K veth1 gro off");
                let unable = |machine: &netlink::Machine| {
                    let veth = machine.interfaces.iter().find(|interface| interface.name == "veth0");
                    veth.is_some_and(|veth| veth.takes_xdp_frames() == Some(false))
                };
                wait_for(&mut machine, unable).await;
                ip("link del veth0");
                wait_for(&mut machine, |machine| names(machine) == ["lo"]).await;
            });
        });
        let _ = done.send(());
    });
    result.await.expect("the test in its namespace ends well");
}

#[test]
fn sends_back_where_the_service_is_behind_the_same_wire() {
    in_namespace(|| {
        wires();
        ip("addr add 2001:db8:1::1/64 dev v4 nodad");
        ip("addr del 2001:db8:1::1/64 dev v6");
        let text = mac("c4").map(|byte| format!("{byte:02x}")).join(":");
        ip(&format!("neigh replace 2001:db8:1::2 lladdr {text} nud permanent dev v4"));
        let relay = relay(&without_fragmenter());
        let (action, _) = relay.test_run(&ipv4_udp(100), ifindex("v4")).unwrap();
        // By redirect: a veth whose other end has no program delivers nothing from XDP_TX.
        assert_eq!(action, XDP_REDIRECT);
    });
}

#[test]
fn translates_the_kernels_own_errors() {
    in_namespace(|| {
        wires();
        let mut relay = relay(&options());
        // No route leads to this service.
        relay.remove_eam(&www().eams[0]).unwrap();
        relay.insert_eam(&eam("198.51.100.10/32", "2001:db8:ffff::2/128")).unwrap();
        relay.attach(ifindex("v4"), "v4", XdpMode::Native).unwrap();
        let client = Wire::open("c4");
        client.send(&ipv4_udp(100));
        let is_error = |frame: &[u8]| frame[12..14] == [8, 0] && frame[14 + 9] == 1 && frame[34] == 3;
        let errors = client.receive_those(1, is_error);
        assert_eq!(errors.len(), 1, "{:?}", relay.counters());
        assert_eq!(errors[0][14 + 16..14 + 20], [192, 0, 2, 2], "to the client");
        assert_eq!(errors[0][14 + 20 + 8 + 16..][..4], [198, 51, 100, 10], "about the service");
    });
}
