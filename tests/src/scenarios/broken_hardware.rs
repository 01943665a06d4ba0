//! Errors of the hardware, and a hypervisor that hangs.

use crate::scenario::{End, Scenario};

/// The scenarios of this subject.
pub fn scenarios() -> Vec<Scenario> {
    vec![
        // Bank 1: valid, enabled, with an address.
        Scenario::linux(
            "mce-corrected",
            "an error that the hardware corrected is found and reaches dom0's log device",
        )
        .expect("dom0 # ")
        .monitor("mce 0 1 0x9400000000000136 0 0x123000 0")
        .expect("corrected: bank 1: 9400000000000136 at 0000000000123000")
        .enter("dd if=/dev/mcelog bs=4096 count=1 2> /dev/null | wc -c\n")
        .expect("^[1-9][0-9]*\r?$")
        .enter("poweroff\n")
        .end(End::PowerOff)
        .not_on_xen("Debian's Xen looks at the banks of this processor model less often"),
        // Uncorrected, signalled, action optional; the interrupted program can go on.
        Scenario::linux(
            "mce-survived",
            "a machine check that leaves the interrupted program intact is logged, and the machine goes on",
        )
        .expect("dom0 # ")
        .monitor("mce 0 1 0xbd0000000000017a 5 0x123000 0x8c")
        .expect("uncorrected: bank 1: bd0000000000017a at 0000000000123000")
        .enter("echo $((6 * 7)) answers; poweroff\n")
        .expect("^42 answers")
        .end(End::PowerOff)
        .not_on_xen("Debian's Xen takes the processor for one without recovery"),
        // Uncorrected, context corrupt.
        Scenario::linux(
            "mce-fatal",
            "a machine check that destroyed the context is reported with its bank and restarts the machine",
        )
        .tolerate("Panic on CPU")
        .expect("dom0 # ")
        .monitor("mce 0 1 0xbe00000000000136 4 0x123000 0")
        .expect("Machine check bank 1: status 0xbe00000000000136, address 0x123000")
        .expect("Panic on CPU 0")
        .expect("machine check, status 0x4")
        .expect("rip [0-9a-f]{16}")
        .end(End::Reset)
        .not_on_xen("Debian's Xen words it otherwise"),
        Scenario::linux(
            "watchdog-hang",
            "a hypervisor that hangs is reported with its registers and restarts the machine",
        )
        .append("watchdog watchdog_timeout=2 test_keys")
        .tolerate("Panic on CPU")
        .expect("Watchdog enabled: 2 seconds")
        .expect("dom0 # ")
        .enter("\x01\x01\x01")
        .expect("Serial input to Xen")
        .enter("!")
        .expect("'!' pressed")
        .expect("Watchdog timer detects that CPU[0-9]+ is stuck!")
        .expect("rip [0-9a-f]{16}")
        .expect("key_hang")
        .end(End::Reset)
        .not_on_xen("the key is ours"),
        Scenario::linux(
            "watchdog-quiet",
            "the watchdog lets idle and busy processors alone",
        )
        .smp(2)
        .append("watchdog watchdog_timeout=1")
        .expect("Watchdog enabled: 1 seconds")
        .expect("dom0 # ")
        .enter("sleep 3; i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done; echo $((6 * 7)) answers; poweroff\n")
        .expect("^42 answers")
        .end(End::PowerOff)
        .not_on_xen("Debian's Xen finds no source for its watchdog"),
    ]
}
