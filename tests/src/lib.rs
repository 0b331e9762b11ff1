//! What the tests that cross crate borders share.

pub mod compare;
pub mod fuzz;
pub mod harness;
pub mod lab;
pub mod nic;
pub mod notation;
pub mod reference;
