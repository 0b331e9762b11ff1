//! Do drivers leave room before a frame for what a packet grows by?

use super::{Finding, Seen};

pub(super) const NAME: &str = "headroom";

/// No driver says how much it leaves. Where it is too little the program cannot do its work, and counts that.
pub(super) fn check(seen: &Seen) -> Vec<Finding> {
    let count = seen.internal;
    let packets = if count == 1 { "packet was" } else { "packets were" };
    let finding = || {
        Finding::serious(
            NAME,
            format!(
                "{count} {packets} dropped as `internal` within a second: a driver left no room before the frame, or the program could not do its \
                 work otherwise"
            ),
            "`xlat-ctl capture --reason internal` shows by which interface they arrive: xdp_mode = \"generic\" makes room there; \
             else see `xlat-ctl reason internal`"
                .to_owned(),
        )
    };
    (count > 0).then(finding).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_that_the_program_could_not_do_its_work() {
        let mut seen = Seen::example(Vec::new());
        assert_eq!(check(&seen), []);
        seen.internal = 3;
        assert!(check(&seen)[0].problem.contains("3 packets were dropped as `internal` within a second"));
    }
}
