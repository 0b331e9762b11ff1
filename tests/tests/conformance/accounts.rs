//! What is counted for single EAMs (docs/accounting.md): each translated packet for one of them, by direction. That the sums are those
//! of the counters is compared for every packet of the differential test.

use xlat_common::{
    account::Record,
    counters::{Direction, Traffic},
};
use xlat_ctl::dataplane::Eam;
use xlat_tests::{
    harness::{Relay, row::*, settings},
    notation::*,
};

const ON: &str = "accounting.services = true";
const OTHER: Host = Host { v4: "198.51.100.11", v6: "2001:db8:5e1:1::11" };

fn eam(host: Host) -> Eam {
    Eam {
        ipv4: format!("{}/32", host.v4).parse().unwrap(),
        ipv6: format!("{}/128", host.v6).parse().unwrap(),
        prefix: None,
    }
}

/// What the packets have added to each account that has anything, by the account.
fn counted(configuration: &str, frames: &[Frame], look: impl FnOnce(&mut Relay, &[(u32, Record)])) {
    Relay::with(&settings(configuration), |relay| {
        relay.dataplane().collect_accounts(|_, _| {});
        frames.iter().for_each(|frame| drop(relay.run(frame).expect("the program runs")));
        let mut all = Vec::new();
        relay.dataplane().collect_accounts(|account, record| all.push((account, record)));
        look(relay, &all);
    });
}

/// The one account with anything is that of `host`, and this is in it.
#[track_caller]
fn only(configuration: &str, frames: &[Frame], host: Host, direction: Direction, packets: u64, bytes: u64) {
    counted(configuration, frames, |relay, all| {
        let mut record = Record::default();
        record.traffic[direction as usize] = Traffic { packets, bytes };
        assert_eq!(all, [(relay.dataplane().account(&eam(host)), record)]);
        assert_ne!(all[0].0, 0);
    });
}

#[test]
fn an_ipv4_packet_counts_for_its_destination_on_either_path() {
    // The first asks the routing table, the others find the next hop remembered.
    let frame: Frame = ip4(CLIENT, SERVER).udp(4711, 53, b"question").into();
    only(ON, &[frame.clone(), frame.clone(), frame], SERVER, Direction::FourToSix, 3, 108);
}

#[test]
fn an_ipv6_packet_counts_for_its_source_on_either_path() {
    let frame: Frame = ip6(SERVER, CLIENT).tcp(80, 4711, b"200 OK").into();
    only(ON, &[frame.clone(), frame.clone(), frame], SERVER, Direction::SixToFour, 3, 198);
}

#[test]
fn a_fragment_counts_with_the_bytes_it_came_with() {
    let frame: Frame = ip4(CLIENT, SERVER).udp(1, 2, &data(200)).fragment(1, 0, 64).into();
    only(ON, &[frame], SERVER, Direction::FourToSix, 1, 84);
}

#[test]
fn what_is_dropped_passed_or_given_to_the_fragmenter_does_not_count() {
    let frames = [
        ip4(CLIENT, SERVER).ttl(1).udp(4711, 53, b"?").into(),
        ip4(CLIENT, SERVER).udp(4711, 53, &data(1300)).into(),
        ip4(CLIENT, ROUTER).udp(4711, 53, b"?").into(),
    ];
    counted(ON, &frames, |_, all| assert_eq!(all, []));
}

#[test]
fn a_hairpinned_packet_counts_for_both() {
    let frame: Frame = ip6(SERVER, "2001:db8:6464::198.51.100.11").udp(1, 2, b"?").into();
    counted(ON, &[frame], |relay, all| {
        let of = |relay: &mut Relay, host| {
            let account = relay.dataplane().account(&eam(host));
            all.iter().find(|(number, _)| *number == account).expect("it has counted").1
        };
        assert_eq!(all.len(), 2);
        let (sender, receiver) = (of(relay, SERVER), of(relay, OTHER));
        assert_eq!(sender.of(Direction::SixToFour), Traffic { packets: 1, bytes: 49 });
        assert_eq!(receiver.of(Direction::FourToSix), Traffic { packets: 1, bytes: 29 });
    });
}

#[test]
fn a_routers_error_counts_for_the_service_that_it_is_about() {
    let error: Frame =
        ip6("2001:db8::1234", CLIENT).icmp(3, 0).about(ip6(CLIENT, SERVER).udp(1, 2, b"question")).into();
    only(ON, &[error], SERVER, Direction::SixToFour, 1, 104);
}

#[test]
fn a_packet_that_no_eam_maps_counts_for_none() {
    let frame: Frame = ip4(CLIENT, "203.0.113.130").udp(1, 2, b"?").into();
    counted("accounting.services = true\ntranslation.scope = \"all\"", &[frame], |_, all| {
        assert!(all.iter().all(|(account, _)| *account == 0), "{all:?}");
    });
}

#[test]
fn nothing_counts_where_the_setting_is_off() {
    counted("", &[ip4(CLIENT, SERVER).udp(4711, 53, b"question").into()], |relay, all| {
        assert_eq!(all, []);
        assert_eq!(relay.dataplane().account(&eam(SERVER)), 0);
    });
}

#[test]
fn an_eam_that_goes_gives_its_rest_and_its_number_is_another_ones_from_zero() {
    let relay = &mut Relay::load(&settings(ON)).expect("a relay");
    let frame: Frame = ip4(CLIENT, SERVER).udp(4711, 53, b"question").into();
    relay.run(&frame).expect("the program runs");
    let account = relay.dataplane().account(&eam(SERVER));
    let (was, rest) = relay.dataplane().remove_eam(&eam(SERVER)).expect("it is there");
    assert_eq!((was, rest.of(Direction::FourToSix).packets), (account, 1));
    relay.dataplane().insert_eam(&eam(SERVER)).expect("there is room");
    assert_eq!(relay.dataplane().account(&eam(SERVER)), account);
    let mut all = Vec::new();
    relay.dataplane().collect_accounts(|account, record| all.push((account, record)));
    assert_eq!(all, []);
    relay.run(&frame).expect("the program runs");
    relay.dataplane().collect_accounts(|account, record| all.push((account, record)));
    assert_eq!(
        all.iter().map(|(at, record)| (*at, record.of(Direction::FourToSix).packets)).collect::<Vec<_>>(),
        [(account, 1)]
    );
}
