//! Several measurements of one thing.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Median, least and greatest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub(crate) struct Spread {
    /// The middle one; of an even number of measurements the mean of the middle two.
    pub(crate) median: f64,
    /// The least.
    pub(crate) min: f64,
    /// The greatest.
    pub(crate) max: f64,
}

impl Spread {
    /// Of these measurements; all zero if there are none.
    #[must_use]
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (values.first(), values.last()) else {
            return Self { median: 0.0, min: 0.0, max: 0.0 };
        };
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Self { median: f64::midpoint(low, high), min: *min, max: *max }
    }

    /// Of what pairs of measurements give, each pair from one round.
    #[must_use]
    pub(crate) fn of_pairs(left: &[f64], right: &[f64], with: impl Fn(f64, f64) -> f64) -> Self {
        Self::of(left.iter().zip(right).map(|(left, right)| with(*left, *right)))
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = formatter.precision().unwrap_or(2);
        write!(formatter, "{:.places$} ({:.places$} to {:.places$})", self.median, self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_of_the_sorted_values() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(Spread::of_pairs(&[2.0, 9.0], &[1.0, 3.0], |a, b| a / b).max, 3.0);
        assert_eq!(format!("{:.1}", Spread::of([1.0])), "1.0 (1.0 to 1.0)");
    }
}
