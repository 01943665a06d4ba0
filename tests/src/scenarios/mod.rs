//! The boot tests. A new one is a few lines in the file of its subject.

mod bad_input;
mod broken_hardware;
mod conformance;
mod debian;
mod dom0;
mod guests;
mod power;
mod pv_kernels;
mod stock_xl;

use crate::scenario::Scenario;

/// Every scenario.
pub fn all() -> Vec<Scenario> {
    [
        pv_kernels::scenarios(),
        conformance::scenarios(),
        bad_input::scenarios(),
        power::scenarios(),
        broken_hardware::scenarios(),
        dom0::scenarios(),
        debian::scenarios(),
        stock_xl::scenarios(),
        guests::scenarios(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{FATAL, Step};
    use regex::bytes::Regex;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let names: Vec<_> = all().iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn every_scenario_waits_for_something_that_can_be_read() {
        for scenario in all() {
            let patterns = scenario.steps.iter().filter_map(|step| match step {
                Step::Expect(pattern) => Some(pattern),
                _ => None,
            });
            let patterns: Vec<Regex> = patterns
                .map(|pattern| Regex::new(pattern).unwrap())
                .collect();
            assert!(!patterns.is_empty(), "{} expects nothing", scenario.name);
            let known = scenario
                .tolerated
                .iter()
                .all(|pattern| FATAL.contains(pattern));
            assert!(known, "{} tolerates what is not fatal", scenario.name);
        }
    }
}
