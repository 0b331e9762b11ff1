//! The same packets through xlat and through Jool, each on a machine of its own with the same interfaces, neighbours and
//! routes, and what each sends for them.
//!
//! [`rows`] keeps the packets of the conformance table, [`wire`] sends and listens, [`case`] keeps what came of it. [`outcome`]
//! says where two answers differ, [`judge`] and [`verdicts`] who is right, [`report`] writes it down.

pub mod case;
pub mod fields;
pub mod judge;
pub mod outcome;
pub mod report;
pub mod rows;
pub mod settings;
pub mod verdicts;
pub mod view;
pub mod wire;
