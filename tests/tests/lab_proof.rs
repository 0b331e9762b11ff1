//! Nothing that an operator does costs a packet (`xlat_tests::lab::prove`): the short form. The long one, in which the packets come
//! from inside the kernel, is `cargo xtask prove`.

use xlat_tests::lab::{Plan, SocketLoad, prove};

#[test]
fn no_change_costs_a_packet() {
    // Without optimisation, on a machine that does other things too.
    let plan = Plan { reloads: 2, applies: 2, singles: 20, kills: 1, upgrades: 1, least: 0.1 };
    prove(plan, |from, to, frames, rate| Ok(SocketLoad::start(from, to, frames, rate)?));
}
