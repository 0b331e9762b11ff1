//! The next-hop cache (docs/architecture.md): what is remembered is used, and forgotten when it must be.

use std::{
    cell::Cell,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use aya::maps::{Map, MapData, ProgramArray, loaded_maps};
use aya::programs::loaded_programs;
use xlat_common::{programs::index, reason::DropReason};
use xlat_ctl::dataplane::{Eam, Ways};
use xlat_tests::{
    harness::{Relay, Verdict, row::*, settings, world::way_out},
    notation::*,
};

/// The route is taken away under the program: a packet that still leaves by it goes by what is remembered.
fn remembered(frame: &Frame, take_away: &str, change: impl Fn(&Ways)) -> (Verdict, Verdict) {
    remembered_by(&settings(""), frame, take_away, change)
}

fn remembered_by(configuration: &str, frame: &Frame, take_away: &str, change: impl Fn(&Ways)) -> (Verdict, Verdict) {
    let ways = Ways::default();
    ways.changed(true);
    let mut relay = Relay::load_with(configuration, Some(ways.clone())).expect("the program loads");
    ways.unchanged();
    let verdict = |relay: &mut Relay| relay.run(frame).expect("the program runs").verdict;
    assert_eq!(verdict(&mut relay), Verdict::Redirect, "the way is there");
    relay.ip(take_away).expect("the route goes");
    let after = verdict(&mut relay);
    change(&ways);
    (after, verdict(&mut relay))
}

fn four_to_six() -> Frame {
    ip4(CLIENT, SERVER).udp(1, 2, b"?").into()
}

fn six_to_four() -> Frame {
    ip6(SERVER, CLIENT).udp(1, 2, b"?").into()
}

/// On a busy machine the clock may move the epoch in between: of three tries at least two meet what is remembered.
#[track_caller]
fn expect_most(expected: (Verdict, Verdict), outcome: impl Fn() -> (Verdict, Verdict)) {
    let outcomes: Vec<_> = (0..3).map(|_| outcome()).collect();
    let right = outcomes.iter().filter(|outcome| **outcome == expected).count();
    assert!(right >= 2, "expected {expected:?}, got {outcomes:?}");
}

#[test]
fn a_services_next_hop_is_remembered_until_a_change_is_heard_of() {
    expect_most((Verdict::Redirect, Verdict::Pass), || {
        remembered(&four_to_six(), "route del ::/0", |ways| ways.changed(true))
    });
}

#[test]
fn a_clients_next_hop_is_remembered_until_a_change_is_heard_of() {
    expect_most((Verdict::Redirect, Verdict::Pass), || {
        remembered(&six_to_four(), "route del 0.0.0.0/0", |ways| ways.changed(true))
    });
}

/// A service in an EAM of many addresses, and everybody else by the translation prefix.
const MANY: &str = "translation.scope = 'all'\neam = [{ ipv4 = '198.51.100.0/24', ipv6 = '2001:db8:5e1:1::/120' }]";

/// Of an IPv4 address without an entry of its own: to an EAM's, and to one that the translation prefix maps.
fn to_many() -> [Frame; 2] {
    [ip4(CLIENT, SERVER).udp(1, 2, &data(40)).into(), ip4(SERVER, CLIENT).udp(1, 2, &data(40)).into()]
}

#[test]
fn the_next_hop_of_an_address_without_an_entry_of_its_own_is_remembered_until_a_change_is_heard_of() {
    for frame in to_many() {
        expect_most((Verdict::Redirect, Verdict::Pass), || {
            remembered_by(&settings(MANY), &frame, "route del ::/0", |ways| ways.changed(true))
        });
    }
}

/// Whoever looks for a next hop under the new table finds none that follows from the old.
#[test]
fn what_is_remembered_of_an_eam_of_many_addresses_goes_with_it() {
    let mut relay = Relay::load(&settings(MANY)).expect("the program loads");
    let verdict = |relay: &mut Relay| relay.run(&to_many()[0]).expect("the program runs").verdict;
    assert_eq!((verdict(&mut relay), verdict(&mut relay)), (Verdict::Redirect, Verdict::Redirect));
    let eam = |ipv6: &str| Eam { ipv4: "198.51.100.0/24".parse().unwrap(), ipv6: ipv6.parse().unwrap(), prefix: None };
    relay.dataplane().remove_eam(&eam("2001:db8:5e1:1::/120")).expect("it is there");
    // There the next hop is a neighbour that does not answer.
    relay.dataplane().insert_eam(&eam("2001:db8:5e1:77::/120")).expect("there is room");
    assert_eq!(verdict(&mut relay), Verdict::Pass, "by the next hop of what the address was mapped to before");
}

#[test]
fn with_several_translation_prefixes_the_source_says_where_a_destination_leads() {
    let configuration = settings(
        "translation.prefixes = ['2001:db8:6464::/96', '2001:db8:5e1:77::/96']
         prefix_for = [{ prefix = '2001:db8:5e1:77::/96', ipv4 = ['198.51.100.11/32'] }]",
    );
    let mut relay = Relay::load(&configuration).expect("the program loads");
    let mut verdict = |source: &'static str| {
        relay.run(&ip4(source, CLIENT).udp(1, 2, b"?").into()).expect("the program runs").verdict
    };
    for _ in 0..2 {
        assert_eq!(verdict("198.51.100.10"), Verdict::Redirect);
        assert_eq!(verdict("198.51.100.11"), Verdict::Pass, "its prefix' next hop does not answer");
    }
}

#[test]
fn nothing_is_remembered_where_the_way_depends_on_more_than_the_destination() {
    expect_most((Verdict::Redirect, Verdict::Pass), || {
        remembered(&four_to_six(), "route del ::/0", |ways| ways.changed(false))
    });
}

#[test]
fn what_is_remembered_ages_by_the_clock() {
    let wait = |_: &Ways| std::thread::sleep(Duration::from_millis(1700));
    let (_, later) = remembered(&four_to_six(), "route del ::/0", wait);
    assert_eq!(later, Verdict::Pass, "a relay without a daemon is wrong for longer than it may be");
    let (_, later) = remembered(&six_to_four(), "route del 0.0.0.0/0", wait);
    assert_eq!(later, Verdict::Pass);
}

#[test]
fn what_is_remembered_does_not_age_while_changes_are_listened_for() {
    expect_most((Verdict::Redirect, Verdict::Redirect), || listening(&four_to_six(), "route del ::/0"));
    expect_most((Verdict::Redirect, Verdict::Redirect), || listening(&six_to_four(), "route del 0.0.0.0/0"));
}

/// As [`remembered`], while it is said for two seconds that nothing has changed. A try in which that is said too late counts for
/// nothing: the clock may have moved the epoch.
fn listening(frame: &Frame, take_away: &str) -> (Verdict, Verdict) {
    const TOO_LATE: Duration = Duration::from_millis(900);
    for _ in 0..10 {
        let (in_time, last) = (Cell::new(true), Cell::new(Instant::now()));
        let in_between = || in_time.set(in_time.get() && last.replace(Instant::now()).elapsed() < TOO_LATE);
        let outcome = remembered(frame, take_away, |ways| {
            last.set(Instant::now());
            for _ in 0..20 {
                in_between();
                ways.unchanged();
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        in_between();
        if in_time.get() {
            return outcome;
        }
    }
    panic!("this thread does not get to run once in {TOO_LATE:?}");
}

/// A destination's word has an epoch's lower 19 bits only: when they come again, it must have gone.
#[test]
fn what_is_remembered_is_gone_before_its_epoch_comes_again() {
    let around = |ways: &Ways| {
        for change in 0..1 << 19 {
            ways.changed(true);
            // The clock is not to move the epoch meanwhile.
            if change % 4096 == 0 {
                ways.unchanged();
            }
        }
    };
    let (_, later) = remembered(&six_to_four(), "route del 0.0.0.0/0", around);
    assert_eq!(later, Verdict::Pass, "a next hop of half a million changes ago counts");
}

/// More machines on the link than there are places for next hops, one after the other: nearly each is remembered. (A next hop is looked
/// for in four places: the more are taken, the likelier all four are. Without giving back a thousand would find none.)
#[test]
fn places_of_next_hops_are_given_back() {
    const MACHINES: u32 = 5000;
    let ways = Ways::default();
    ways.changed(true);
    let mut relay = Relay::load_with(&settings(""), Some(ways.clone())).expect("the program loads");
    let device = way_out("203.0.113.7".parse().expect("an address")).name;
    let address = |machine: u32| Ipv4Addr::from(0x6440_0000 + machine).to_string();
    let mut batch = format!("route add 100.64.0.0/16 dev {device}\n");
    for machine in 0..MACHINES {
        let mac = format!("02:00:00:00:{:02x}:{:02x}", machine / 256, machine % 256);
        batch += &format!("neigh add {} lladdr {mac} dev {device} nud permanent\n", address(machine));
    }
    relay.ip(&batch).expect("a link with many machines");
    let (mut given_back, mut forgotten) = (None, 0);
    for machine in 0..MACHINES {
        ways.unchanged();
        let address: &str = format!("2001:db8:6464::{}", address(machine)).leak();
        let frame = ip6(SERVER, address).udp(1, 2, b"?").into();
        let mut asked = || {
            let before = relay.dataplane().counters().expect("the counters").route_lookups;
            assert_eq!(relay.run(&frame).expect("the program runs").verdict, Verdict::Redirect, "{address}");
            relay.dataplane().counters().expect("the counters").route_lookups - before
        };
        // The epoch can move by the clock in between.
        forgotten += u32::from((0..3).all(|_| asked() > 0));
        given_back = given_back.or(relay.dataplane().give_back_next_hops());
    }
    assert!(forgotten < 400, "of {MACHINES} machines the way to {forgotten} is not remembered");
    assert!(given_back.is_some_and(|places| places > 2000), "{given_back:?}");
}

/// The programs that a relay's entry program goes on in by tail call.
fn programs_of(relay: &mut Relay) -> ProgramArray<MapData> {
    let entry = relay.dataplane().program_info().id;
    let entry = loaded_programs().flatten().find(|program| program.id() == entry).expect("it is loaded");
    let ids = entry.map_ids().expect("its maps").expect("told by the kernel");
    let is_array =
        |id: &u32| loaded_maps().flatten().any(|map| map.id() == *id && map.name_as_str() == Some("PROGRAMS"));
    let id = ids.into_iter().find(is_array).expect("it has such a map");
    Map::ProgramArray(MapData::from_id(id).expect("the map")).try_into().expect("an array of programs")
}

/// Without the programs that know all rules, what floods are made of is dropped all the same, for the reason that it has.
#[test]
fn floods_end_in_the_entry_program() {
    let configuration = settings("deny.ipv4 = ['203.0.113.64/26']\nicmp.errors = 'off'");
    let mut relay = Relay::load(&configuration).expect("the program loads");
    let mut programs = programs_of(&mut relay);
    for place in 0..index::COUNT {
        programs.clear_index(&place).expect("taken out");
    }
    let denied = CLIENT_1000;
    let floods: [(Frame, DropReason); 7] = [
        (ip4(CLIENT, SERVER).icmp(13, 0).echo(7, 1, &data(12)).into(), DropReason::IcmpType),
        (ip6(SERVER, CLIENT).icmp(200, 0).echo(7, 1, &data(12)).into(), DropReason::IcmpType),
        (Frame::from(ip4(CLIENT, SERVER).udp(1, 2, &data(100))).truncated(100), DropReason::MalformedHeader),
        (Frame::from(ip6(SERVER, CLIENT).udp(1, 2, &data(100))).truncated(100), DropReason::MalformedHeader),
        (ip4(denied, SERVER).udp(1, 2, &data(40)).into(), DropReason::DeniedSource),
        (ip6(SERVER, denied).udp(1, 2, &data(40)).into(), DropReason::DeniedDestination),
        (ip6(SERVER, denied).echo_reply(7, 1, &data(40)).into(), DropReason::DeniedDestination),
    ];
    for (frame, reason) in floods {
        let outcome = relay.run(&frame).expect("the program runs");
        assert_eq!((outcome.verdict, outcome.reason), (Verdict::Drop, Some(reason)), "{frame:?}");
    }
}

/// What nearly every packet is.
fn plain() -> [Frame; 6] {
    [
        ip4(CLIENT, SERVER).tcp(4711, 80, b"?").into(),
        ip4(CLIENT, SERVER).udp(4711, 53, &data(40)).into(),
        ip4(CLIENT, SERVER).echo_request(7, 1, &data(40)).into(),
        ip6(SERVER, CLIENT).tcp(80, 4711, b"!").into(),
        ip6(SERVER, CLIENT).udp(53, 4711, b"!").into(),
        ip6(SERVER, CLIENT).echo_reply(7, 1, &data(40)).into(),
    ]
}

#[test]
fn what_nearly_every_packet_is_takes_the_fast_path() {
    expect_fast(&settings(""), &plain());
}

#[test]
fn what_nearly_every_packet_is_takes_the_fast_path_beside_deny_lists() {
    let beside = "deny.ipv4 = ['203.0.113.66', '192.0.2.0/24']\ndeny.ipv6 = ['2001:db8:bad::/48']";
    expect_fast(&settings(beside), &plain());
}

#[test]
fn what_an_address_without_an_entry_of_its_own_gets_takes_the_fast_path() {
    expect_fast(&settings(MANY), &to_many());
}

/// Without the programs that know all rules, only what the fast path does by itself is left.
#[track_caller]
fn expect_fast(configuration: &str, plain: &[Frame]) {
    let verdict = |relay: &mut Relay, frame: &Frame| relay.run(frame).expect("the program runs").verdict;
    let mut fast = 0;
    // The epoch can move by the clock in between, after which the first packet needs the others again.
    for _ in 0..3 {
        let mut relay = Relay::load(configuration).expect("the program loads");
        let mut programs = programs_of(&mut relay);
        for frame in plain {
            assert_eq!(verdict(&mut relay, frame), Verdict::Redirect);
        }
        let kept = [index::FOUR_TO_SIX, index::SIX_TO_FOUR];
        kept.iter().for_each(|place| programs.clear_index(place).expect("taken out"));
        fast = plain.iter().filter(|frame| verdict(&mut relay, frame) == Verdict::Redirect).count();
        let with_options = Frame::from(ip4(CLIENT, SERVER).options(&[1; 4]).udp(4711, 53, b"?"));
        assert_eq!(verdict(&mut relay, &with_options), Verdict::Drop, "the others are not there");
        if fast == plain.len() {
            break;
        }
    }
    assert_eq!(fast, plain.len(), "packets that took the fast path");
}
