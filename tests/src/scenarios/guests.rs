//! Guests beside dom0, made, run and taken away by our toolstack.

use crate::scenario::{End, Scenario};

/// The scenarios of this subject.
pub fn scenarios() -> Vec<Scenario> {
    let check = |name, about, check: &str| {
        Scenario::linux(name, about)
            .toolstack()
            .memory("1536M")
            .append("dom0_mem=512M")
            .dom0_append(&format!("quiet checks={check} then=poweroff"))
            .expect("TOOLSTACK up")
            .check(check)
            .end(End::PowerOff)
    };
    vec![
        check(
            "guest-life",
            "a guest is made, used, restarted and taken away, and nothing is left of it",
            "guestlife",
        ),
        check(
            "guest-devices",
            "disks and network cards of a guest carry data, come and go",
            "guestdevices",
        ),
        check(
            "guest-errors",
            "wrong configurations are refused with the cause and the way out",
            "guesterrors",
        ),
        check(
            "guest-kill",
            "kill -9 of the creator and the daemons leaves nothing behind",
            "guestkill",
        )
        .long(),
        // dom0 has all memory and gives some up.
        Scenario::linux(
            "guest-demo",
            "the commands of the guide, typed at a dom0 that has all memory",
        )
        .toolstack()
        .dom0_append("quiet")
        .expect("TOOLSTACK up")
        .expect("dom0 # ")
        .enter("xeno create /guests/linux.cfg -c\n")
        .expect("GUEST up")
        .expect("guest # ")
        .enter("echo $((6 * 7)) answers\n")
        .expect("^42 answers")
        .enter("\x1d")
        .expect("dom0 # ")
        .enter("xeno list\n")
        .expect("^linux  ")
        .enter("xeno destroy linux && echo destroyed; poweroff\n")
        .expect("^destroyed")
        .end(End::PowerOff),
    ]
}
