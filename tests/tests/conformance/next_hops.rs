//! The next-hop cache (docs/architecture.md): what is remembered is used, and forgotten when it must be.

use aya::maps::{Map, MapData, ProgramArray, loaded_maps};
use aya::programs::loaded_programs;
use xlat_common::{programs::index, reason::DropReason};
use xlat_ctl::dataplane::Ways;
use xlat_tests::{
    harness::{Relay, Verdict, row::*, settings},
    notation::*,
};

/// The route is taken away under the program: a packet that still leaves by it goes by what is remembered.
fn remembered(frame: &Frame, take_away: &str, change: impl Fn(&Ways)) -> (Verdict, Verdict) {
    let ways = Ways::default();
    ways.changed(true);
    let mut relay = Relay::load_with(&settings(""), Some(ways.clone())).expect("the program loads");
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

#[test]
fn nothing_is_remembered_where_the_way_depends_on_more_than_the_destination() {
    expect_most((Verdict::Redirect, Verdict::Pass), || {
        remembered(&four_to_six(), "route del ::/0", |ways| ways.changed(false))
    });
}

#[test]
fn what_is_remembered_ages_by_the_clock() {
    let wait = |_: &Ways| std::thread::sleep(std::time::Duration::from_millis(1700));
    let (_, later) = remembered(&four_to_six(), "route del ::/0", wait);
    assert_eq!(later, Verdict::Pass, "a relay without a daemon is wrong for longer than it may be");
    let (_, later) = remembered(&six_to_four(), "route del 0.0.0.0/0", wait);
    assert_eq!(later, Verdict::Pass);
}

#[test]
fn what_is_remembered_does_not_age_while_changes_are_listened_for() {
    let listen = |ways: &Ways| {
        for _ in 0..20 {
            ways.unchanged();
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    };
    expect_most((Verdict::Redirect, Verdict::Redirect), || remembered(&four_to_six(), "route del ::/0", listen));
    expect_most((Verdict::Redirect, Verdict::Redirect), || remembered(&six_to_four(), "route del 0.0.0.0/0", listen));
}

/// A client's word has an epoch's lower 20 bits only: when they come again, it must have gone.
#[test]
fn what_is_remembered_is_gone_before_its_epoch_comes_again() {
    let around = |ways: &Ways| {
        for change in 0..1 << 20 {
            ways.changed(true);
            // The clock is not to move the epoch meanwhile.
            if change % 4096 == 0 {
                ways.unchanged();
            }
        }
    };
    let (_, later) = remembered(&six_to_four(), "route del 0.0.0.0/0", around);
    assert_eq!(later, Verdict::Pass, "a next hop of a million changes ago counts");
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

/// Without the programs that know all rules, only what the fast path does by itself is left.
#[test]
fn what_nearly_every_packet_is_takes_the_fast_path() {
    let mut relay = Relay::load(&settings("")).expect("the program loads");
    let plain: [Frame; 6] = [
        ip4(CLIENT, SERVER).tcp(4711, 80, b"?").into(),
        ip4(CLIENT, SERVER).udp(4711, 53, &data(40)).into(),
        ip4(CLIENT, SERVER).echo_request(7, 1, &data(40)).into(),
        ip6(SERVER, CLIENT).tcp(80, 4711, b"!").into(),
        ip6(SERVER, CLIENT).udp(53, 4711, b"!").into(),
        ip6(SERVER, CLIENT).echo_reply(7, 1, &data(40)).into(),
    ];
    let verdict = |relay: &mut Relay, frame: &Frame| relay.run(frame).expect("the program runs").verdict;
    let mut fast = 0;
    // The epoch can move by the clock in between, after which the first packet needs the others again.
    for _ in 0..3 {
        let mut programs = programs_of(&mut relay);
        for frame in &plain {
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
        relay = Relay::load(&settings("")).expect("the program loads");
    }
    assert_eq!(fast, plain.len(), "packets that took the fast path");
}
