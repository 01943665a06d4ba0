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
            "kill -9 of the creator and the daemons loses nothing and leaves nothing behind",
            "guestkill",
        ),
        check(
            "guest-hostile",
            "guests that misuse rings, events and the store harm nobody",
            "guesthostile",
        ),
        check(
            "guest-save",
            "a guest is saved and restored, and goes on where it was",
            "guestsave",
        )
        .memory("2G")
        .append("dom0_mem=1G"),
        check(
            "guest-many",
            "ten guests run beside each other, and two talk to each other",
            "guestmany",
        )
        .memory("2G")
        .smp(2),
        check(
            "guest-rounds",
            "guests are made and destroyed, and the memory is the same to the page",
            "guestrounds",
        ),
        check(
            "guest-hundred",
            "a hundred guests are made and destroyed, and the memory is the same to the page",
            "guestrounds",
        )
        .dom0_append("rounds=100")
        .long(),
        check(
            "guest-pvgrub",
            "Debian's GRUB as a guest starts Linux from the guest's disk",
            "guestpvgrub",
        ),
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
