//! Differential fuzzing: the same packets through the real program and through the [reference](crate::reference), and no
//! difference allowed.

pub mod configs;
pub mod corpus;
pub mod generate;
pub mod program;
pub mod random;
mod run;

pub use self::run::{Disagreement, Plan, Report, Subject, Totals, run};
