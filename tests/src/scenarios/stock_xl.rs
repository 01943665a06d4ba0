//! Debian's own toolstack, unmodified, in dom0: `xl`, xenstored and xenconsoled of Xen 4.17.

use crate::scenario::{End, Scenario};
use std::time::Duration;

/// The scenarios of this subject.
pub fn scenarios() -> Vec<Scenario> {
    let with_checks = |name, about, checks: &[&str]| {
        let list = checks.join(",");
        let scenario = Scenario::linux(name, about)
            .stock_xl()
            .dom0_append(&format!("quiet checks=xl-start,{list} then=poweroff"))
            .check("xl-start");
        checks
            .iter()
            .fold(scenario, |scenario, check| scenario.check(check))
            .end(End::PowerOff)
    };
    // Both toolstacks in one dom0, with our daemons.
    let both = |name, about, check: &str| {
        Scenario::linux(name, about)
            .stock_xl()
            .toolstack()
            .memory("2G")
            .append("dom0_mem=1G,max:1G")
            .dom0_append(&format!("quiet checks={check} then=poweroff"))
            .check(check)
            .end(End::PowerOff)
    };
    vec![
        both(
            "both-save",
            "xl and xeno restore what the other saved",
            "both-save",
        ),
        with_checks(
            "stock-xl-small",
            "xl makes, pauses and destroys domains, and refuses what cannot be",
            &["xl-small", "xl-rounds"],
        ),
        with_checks(
            "stock-xl-linux",
            "xl runs Debian's kernel as a guest: console, memory, processors, shutdown",
            &["xl-linux"],
        ),
        with_checks(
            "stock-xl-pvh",
            "xl runs Debian's kernel in hardware (PVH): console, processors, shutdown",
            &["xl-pvh"],
        ),
        with_checks(
            "stock-xl-save",
            "xl saves and restores a Linux guest, which goes on where it was",
            &["xl-save"],
        ),
        with_checks(
            "stock-xl-crash",
            "a guest that crashes, or is destroyed as it starts, harms nobody",
            &["xl-crash"],
        ),
        with_checks(
            "stock-xl-smp",
            "xl runs a guest of two processors on two processors",
            &["xl-linux", "xl-crash"],
        )
        .smp(2),
    ]
    .into_iter()
    .map(|scenario| Scenario {
        patience: Duration::from_secs(300),
        ..scenario
    })
    .collect()
}
