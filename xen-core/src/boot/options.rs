//! Options of the hypervisor, under Xen's names (Xen 4.17, `docs/misc/xen-command-line`).
//!
//! Options are separated by white space. A boolean is `name`, `name=yes|no|on|off|true|false|enable|disable|1|0` or
//! `no-name`. Text after ` -- ` is appended to the control domain's own command line. Nothing here stops the boot: what
//! cannot be understood becomes a [`Complaint`] for the log.

use arrayvec::ArrayVec;

mod values;

pub use values::{ComPort, Dom0Mem, LogLevels, MemSize, Threshold, VcpuCount};

/// Where the console's output may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Consoles {
    /// First serial port.
    pub com1: bool,
    /// Second serial port.
    pub com2: bool,
    /// VGA text screen.
    pub vga: bool,
}

/// What `sched_ratelimit_us=` may be besides 0 (sysctl.h, XEN_SYSCTL_SCHED_RATELIMIT_MIN and _MAX).
const RATELIMIT_US: core::ops::RangeInclusive<u32> = 100..=500_000;

/// The scheduler that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scheduler {
    /// Credit scheduler.
    Credit,
    /// Credit2 scheduler, Xen's default.
    #[default]
    Credit2,
    /// One vCPU per CPU, no scheduling.
    Null,
}

/// How to restart the machine (`reboot=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebootMethod {
    /// The firmware's reset register.
    Acpi,
    /// Keyboard controller.
    Keyboard,
    /// Port 0xcf9.
    Pci,
    /// Triple fault.
    Triple,
    /// Do not restart: halt.
    No,
}

/// What time is kept by (`clocksource=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockSource {
    /// Programmable interval timer.
    Pit,
    /// High-precision event timer.
    Hpet,
    /// ACPI power-management timer.
    AcpiPm,
    /// Time-stamp counter.
    Tsc,
}

/// What becomes of a non-maskable interrupt that nothing of ours asked for (`nmi=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NmiPolicy {
    /// Nothing.
    Ignore,
    /// The control domain gets it: the default, as in Xen without debug checks.
    #[default]
    Dom0,
    /// The hypervisor panics.
    Fatal,
}

/// All options with their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `console=`.
    pub consoles: Consoles,
    /// `com1=`.
    pub com1: ComPort,
    /// `com2=`.
    pub com2: ComPort,
    /// `loglvl=`: the hypervisor's own messages.
    pub loglvl: LogLevels,
    /// `guest_loglvl=`: messages about and from guests.
    pub guest_loglvl: LogLevels,
    /// `conring_size=`: bytes of the log ring.
    pub conring_size: Option<u64>,
    /// `console_to_ring`: what guests print goes to the log ring too.
    pub console_to_ring: bool,
    /// `console_timestamps`: messages carry the time.
    pub console_timestamps: bool,
    /// `sync_console`: output is never held back.
    pub sync_console: bool,
    /// `conswitch=`: the letter that, with Ctrl, pressed thrice, switches the input's receiver. The `x` after it in
    /// `conswitch=ax` (start in the hypervisor) is [`Self::start_in_xen`].
    pub conswitch: Option<char>,
    /// Input goes to the hypervisor first, not to the control domain.
    pub start_in_xen: bool,
    /// `dom0_mem=`.
    pub dom0_mem: Dom0Mem,
    /// `dom0_max_vcpus=`.
    pub dom0_max_vcpus: VcpuCount,
    /// `dom0_vcpus_pin`.
    pub dom0_vcpus_pin: bool,
    /// `maxcpus=`.
    pub maxcpus: Option<u32>,
    /// `nosmp`.
    pub nosmp: bool,
    /// `mem=`: usable memory ends here.
    pub mem: Option<u64>,
    /// `noreboot`.
    pub noreboot: bool,
    /// `reboot=`.
    pub reboot: Option<RebootMethod>,
    /// `sched=`.
    pub sched: Scheduler,
    /// `sched_ratelimit_us=`.
    pub sched_ratelimit_us: Option<u32>,
    /// `sched_credit2_migrate_resist=`: microseconds.
    pub sched_credit2_migrate_resist: Option<u32>,
    /// `pv-linear-pt`: guests may map their own page tables linearly.
    pub pv_linear_pt: bool,
    /// `smep`.
    pub smep: bool,
    /// `smap`.
    pub smap: bool,
    /// `x2apic`.
    pub x2apic: bool,
    /// `xsave`.
    pub xsave: bool,
    /// `clocksource=`.
    pub clocksource: Option<ClockSource>,
    /// `nmi=`.
    pub nmi: NmiPolicy,
    /// `watchdog`: a hypervisor that hangs restarts the machine.
    pub watchdog: bool,
    /// `watchdog_timeout=`: seconds without progress that mean that it hangs.
    pub watchdog_timeout: u32,
    /// `audit=`: hypercalls after which all books are recounted, again and again; 0 = only when asked for.
    pub audit: u32,
    /// `test_keys`: debug keys that break the machine on purpose work.
    pub test_keys: bool,
    /// `irq_ratelimit=`: interrupts of one source within 10 ms that are too many; 0 = none are.
    pub irq_ratelimit: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            // Xen's own default is "com1,vga".
            consoles: Consoles {
                com1: true,
                com2: false,
                vga: true,
            },
            com1: ComPort::first(),
            com2: ComPort::second(),
            loglvl: LogLevels {
                always: Threshold::Warning,
                rate_limited: Threshold::Warning,
            },
            guest_loglvl: LogLevels {
                always: Threshold::None,
                rate_limited: Threshold::Warning,
            },
            conring_size: None,
            console_to_ring: false,
            console_timestamps: false,
            sync_console: false,
            conswitch: Some('a'),
            start_in_xen: false,
            dom0_mem: Dom0Mem::default(),
            dom0_max_vcpus: VcpuCount::default(),
            dom0_vcpus_pin: false,
            maxcpus: None,
            nosmp: false,
            mem: None,
            noreboot: false,
            reboot: None,
            sched: Scheduler::default(),
            sched_ratelimit_us: None,
            sched_credit2_migrate_resist: None,
            pv_linear_pt: false,
            smep: true,
            smap: true,
            x2apic: true,
            xsave: true,
            clocksource: None,
            nmi: NmiPolicy::default(),
            watchdog: false,
            watchdog_timeout: 5,
            audit: 0,
            test_keys: false,
            irq_ratelimit: 10_000,
        }
    }
}

/// Something in the command line that was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Complaint<'a> {
    /// No such option.
    Unknown(&'a str),
    /// The option exists, its value does not make sense and was ignored.
    BadValue(&'a str),
}

impl core::fmt::Display for Complaint<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unknown(option) => write!(f, "unknown option \"{option}\" ignored"),
            Self::BadValue(option) => write!(f, "bad value in option \"{option}\": ignored"),
        }
    }
}

/// Complaints in the order of the command line; past the capacity they are dropped.
pub type Complaints<'a> = ArrayVec<Complaint<'a>, 16>;

/// A command line that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// The options.
    pub options: Options,
    /// What was not understood.
    pub complaints: Complaints<'a>,
    /// What to append to the control domain's command line.
    pub dom0_extra: &'a str,
}

/// Reads a command line.
#[must_use]
pub fn parse(line: &str) -> Parsed<'_> {
    let (own, dom0_extra) = split_dom0_part(line);
    let mut parsed = Parsed {
        options: Options::default(),
        complaints: Complaints::new(),
        dom0_extra,
    };
    for word in own.split_ascii_whitespace() {
        let complaint = match apply(&mut parsed.options, word) {
            Applied::Yes => continue,
            Applied::BadValue => Complaint::BadValue(word),
            Applied::Unknown => Complaint::Unknown(word),
        };
        let _ = parsed.complaints.try_push(complaint);
    }
    parsed
}

/// Splits at the word `--`.
fn split_dom0_part(line: &str) -> (&str, &str) {
    if let Some(rest) = line.strip_prefix("-- ") {
        return ("", rest.trim());
    }
    match line.split_once(" -- ") {
        Some((own, extra)) => (own, extra.trim()),
        None => (line.strip_suffix(" --").unwrap_or(line), ""),
    }
}

enum Applied {
    Yes,
    BadValue,
    Unknown,
}

/// Puts `value`, if there is one, into `place`.
fn set<T>(place: &mut T, value: Option<T>) -> Applied {
    match value {
        Some(value) => {
            *place = value;
            Applied::Yes
        }
        None => Applied::BadValue,
    }
}

fn apply(options: &mut Options, word: &str) -> Applied {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    // Xen's second form is for processors whose counters it does not trust: nothing here counts on them.
    let value = value.filter(|&value| (name, value) != ("watchdog", "force"));
    if let Some(place) = boolean_place(options, name) {
        return set(place, value.map_or(Some(true), values::boolean));
    }
    if value.is_none()
        && let Some(positive) = name.strip_prefix("no-")
        && let Some(place) = boolean_place(options, positive)
    {
        *place = false;
        return Applied::Yes;
    }
    apply_valued(options, name, value.unwrap_or(""))
}

/// The field of a boolean option.
fn boolean_place<'o>(options: &'o mut Options, name: &str) -> Option<&'o mut bool> {
    Some(match name {
        "console_to_ring" => &mut options.console_to_ring,
        "console_timestamps" => &mut options.console_timestamps,
        "sync_console" => &mut options.sync_console,
        "dom0_vcpus_pin" => &mut options.dom0_vcpus_pin,
        "nosmp" => &mut options.nosmp,
        "test_keys" => &mut options.test_keys,
        "watchdog" => &mut options.watchdog,
        "noreboot" => &mut options.noreboot,
        "pv-linear-pt" => &mut options.pv_linear_pt,
        "smep" => &mut options.smep,
        "smap" => &mut options.smap,
        "x2apic" => &mut options.x2apic,
        "xsave" => &mut options.xsave,
        _ => return None,
    })
}

fn apply_valued(options: &mut Options, name: &str, value: &str) -> Applied {
    match name {
        "console" => set(&mut options.consoles, values::consoles(value)),
        "com1" => {
            let port = options.com1.parse(value);
            set(&mut options.com1, port)
        }
        "com2" => {
            let port = options.com2.parse(value);
            set(&mut options.com2, port)
        }
        "loglvl" => set(&mut options.loglvl, LogLevels::parse(value)),
        "guest_loglvl" => set(&mut options.guest_loglvl, LogLevels::parse(value)),
        "conring_size" => set(&mut options.conring_size, values::size(value, 0).map(Some)),
        "conswitch" => {
            let mut letters = value.chars();
            let Some(switch) = letters.next().filter(char::is_ascii_lowercase) else {
                return Applied::BadValue;
            };
            options.conswitch = Some(switch);
            options.start_in_xen = letters.next() == Some('x');
            Applied::Yes
        }
        "dom0_mem" => set(&mut options.dom0_mem, Dom0Mem::parse(value)),
        "dom0_max_vcpus" => set(&mut options.dom0_max_vcpus, VcpuCount::parse(value)),
        "watchdog_timeout" => {
            let seconds = values::number(value);
            // ABI: a timeout of 0 turns the watchdog off, any other turns it on.
            options.watchdog |= seconds.is_some_and(|seconds: u32| seconds > 0);
            options.watchdog &= seconds != Some(0);
            set(&mut options.watchdog_timeout, seconds)
        }
        "audit" => set(&mut options.audit, values::number(value)),
        "irq_ratelimit" => set(&mut options.irq_ratelimit, values::number(value)),
        "maxcpus" => set(&mut options.maxcpus, values::number(value).map(Some)),
        "mem" => set(
            &mut options.mem,
            values::size(value, 10).filter(|&bytes| bytes > 0).map(Some),
        ),
        "reboot" => {
            let method = match value.split(',').next() {
                Some("acpi") => RebootMethod::Acpi,
                Some("kbd") => RebootMethod::Keyboard,
                Some("pci") => RebootMethod::Pci,
                Some("triple") => RebootMethod::Triple,
                Some("no") => RebootMethod::No,
                _ => return Applied::BadValue,
            };
            options.reboot = Some(method);
            Applied::Yes
        }
        "sched" => {
            let scheduler = match value {
                "credit" => Scheduler::Credit,
                "credit2" => Scheduler::Credit2,
                "null" => Scheduler::Null,
                _ => return Applied::BadValue,
            };
            options.sched = scheduler;
            Applied::Yes
        }
        "sched_ratelimit_us" => set(
            &mut options.sched_ratelimit_us,
            values::number(value)
                .filter(|us| *us == 0 || RATELIMIT_US.contains(us))
                .map(Some),
        ),
        "sched_credit2_migrate_resist" => set(
            &mut options.sched_credit2_migrate_resist,
            values::number(value).map(Some),
        ),
        "clocksource" => {
            let source = match value {
                "pit" => ClockSource::Pit,
                "hpet" => ClockSource::Hpet,
                "acpi" => ClockSource::AcpiPm,
                "tsc" => ClockSource::Tsc,
                _ => return Applied::BadValue,
            };
            options.clocksource = Some(source);
            Applied::Yes
        }
        "nmi" => {
            let policy = match value {
                "ignore" => NmiPolicy::Ignore,
                "dom0" => NmiPolicy::Dom0,
                "fatal" => NmiPolicy::Fatal,
                _ => return Applied::BadValue,
            };
            options.nmi = policy;
            Applied::Yes
        }
        _ => Applied::Unknown,
    }
}

#[cfg(test)]
mod tests;
