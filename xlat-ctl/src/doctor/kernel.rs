//! Is the kernel too old for something?

use super::{Finding, Seen};

pub(super) const NAME: &str = "kernel";

/// Since which version the kernel has something, what is without it, and whether that loses packets.
const FEATURES: [((u32, u32), &str, bool); 4] = [
    ((5, 12), "next hops are looked up for each packet, which is slower", false),
    ((5, 15), "a new program instance is not tried with canaries before it gets real packets", false),
    ((5, 18), "frames larger than a page (jumbo) cannot be translated in native mode", false),
    ((6, 3), "interfaces do not say what they can do with XDP, so that frames to one that takes none are lost", false),
];

pub(super) fn check(seen: &Seen) -> Vec<Finding> {
    let (major, minor) = seen.kernel;
    let missing = FEATURES.iter().filter(|(since, _, _)| seen.kernel < *since);
    missing
        .map(|((since_major, since_minor), without, serious)| Finding {
            check: NAME,
            serious: *serious,
            problem: format!("Linux {major}.{minor}: {without}"),
            remedy: format!("a kernel of Linux {since_major}.{since_minor} or newer"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernel_is_without_what_came_later() {
        let mut seen = Seen::example(Vec::new());
        assert_eq!(check(&seen), []);
        seen.kernel = (5, 15);
        let findings = check(&seen);
        let remedies: Vec<&str> = findings.iter().map(|finding| finding.remedy.as_str()).collect();
        assert_eq!(remedies, ["a kernel of Linux 5.18 or newer", "a kernel of Linux 6.3 or newer"]);
    }
}
