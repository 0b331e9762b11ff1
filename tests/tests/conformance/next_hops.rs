//! The next-hop cache (docs/architecture.md): what is remembered is used, and forgotten when it must be.

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
    let verdict = |relay: &mut Relay| relay.run(frame).expect("the program runs").verdict;
    assert_eq!(verdict(&mut relay), Verdict::Redirect, "the way is there");
    relay.ip(take_away).expect("the route goes");
    // Between a packet that renews what is remembered and this one the epoch can move by the clock, but not twice in a row.
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

/// The epoch moves by the clock about once a second: of three tries at least two meet what is remembered.
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
    let wait = |_: &Ways| std::thread::sleep(std::time::Duration::from_millis(1400));
    let (_, later) = remembered(&four_to_six(), "route del ::/0", wait);
    assert_eq!(later, Verdict::Pass, "a relay without a daemon is wrong for longer than it may be");
    let (_, later) = remembered(&six_to_four(), "route del 0.0.0.0/0", wait);
    assert_eq!(later, Verdict::Pass);
}
