//! `sched.h`: yielding, blocking and shutting down (`__HYPERVISOR_sched_op`).

use crate::event_channel::EvtchnPort;
use crate::guest_handle::GuestHandle;
use crate::xen::DomId;

codes! {
    /// Sub-operation of `sched_op`.
    pub struct SchedOp(u32);
    prefix "SCHEDOP_" {
        /// Gives up the processor.
        r#yield = 0,
        /// Unmasks events and waits for one.
        block = 1,
        /// Shuts the domain down.
        shutdown = 2,
        /// Waits for one of some ports.
        poll = 3,
        /// Declares another domain shut down.
        remote_shutdown = 4,
        /// Records the reason of a shutdown to come.
        shutdown_code = 5,
        /// Sets, pets or removes a watchdog.
        watchdog = 6,
        /// Pins the vCPU to a processor for a while.
        pin_override = 7,
    }
}

codes! {
    /// Why a domain shut down.
    pub struct ShutdownReason(u32);
    prefix "SHUTDOWN_" {
        /// Clean; destroy the domain.
        poweroff = 0,
        /// Clean; start it anew.
        reboot = 1,
        /// Clean; save it and resume.
        suspend = 2,
        /// It crashed.
        crash = 3,
        /// Its watchdog expired.
        watchdog = 4,
        /// Reset its devices, keep its memory.
        soft_reset = 5,
        /// Highest reason.
        MAX = 5,
    }
}

abi_structs! {
    in STRUCTS;
    /// Argument of `shutdown` and `shutdown_code`.
    pub struct SchedShutdown = "sched_shutdown" [4] {
        pub reason: ShutdownReason,
    }
    /// Argument of `poll`.
    pub struct SchedPoll = "sched_poll" [24] {
        pub ports: GuestHandle<EvtchnPort>,
        pub nr_ports: u32,
        pub _pad: [u8; 4],
        /// System time in nanoseconds at which to give up; zero: never.
        pub timeout: u64,
    }
    /// Argument of `remote_shutdown`.
    pub struct SchedRemoteShutdown = "sched_remote_shutdown" [8] {
        pub domain_id: DomId,
        pub _pad: [u8; 2],
        pub reason: ShutdownReason,
    }
    /// Argument of `watchdog`.
    pub struct SchedWatchdog = "sched_watchdog" [8] {
        /// Zero: a new one.
        pub id: u32,
        /// Seconds; zero: remove.
        pub timeout: u32,
    }
    /// Argument of `pin_override`.
    pub struct SchedPinOverride = "sched_pin_override" [4] {
        /// Negative: no more.
        pub pcpu: i32,
    }
}

layout_entries! { types: [STRUCTS], constants: [SchedOp::CODES, ShutdownReason::CODES] }
