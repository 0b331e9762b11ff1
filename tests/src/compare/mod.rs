//! The same packets through xlat and through Jool, each on a machine of its own with the same interfaces, neighbours and
//! routes, and what each sends for them.
//!
//! [`rows`] keeps the packets of the conformance table, [`wire`] sends and listens, [`outcome`] says where two answers differ.

pub mod case;
pub mod fields;
pub mod judge;
pub mod outcome;
pub mod rows;
pub mod settings;
pub mod wire;
