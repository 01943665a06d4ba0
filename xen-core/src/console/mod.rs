//! Log ring, console line, debug keys.
//!
//! Text leaves in two ways: through [`Hypervisor::print`](crate::hypervisor::Hypervisor::print) and its siblings,
//! which know the machine, and through the `log` facade, for which [`Console`] is the logger (then an [`Outlet`] tells
//! it where the line is). Either way the text is formatted first and the lock held only for the copy, so a `Display`
//! may take any lock. One lock, of rank `Console`, guards output; another of the same rank guards input; never both.

mod hardware_shutdown;
mod input;
mod keys;
mod level;
mod line;
mod registers;
mod ring;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

use hypercall_abi::xen::DomId;
use spin::Once;

pub use input::Receiver;
pub use level::{Level, Thresholds};

use input::Input;
use level::{RateLimits, Verdict};
use line::GuestLines;
use registers::RegisterDump;
use ring::LogRing;

use crate::boot::options::Options;
use crate::sync::{Rank, RankedMutex};

/// Target of `log` records about what a guest did: `guest_loglvl=` decides on them, and their rate is limited.
pub const GUEST_TARGET: &str = "guest";

/// What every line of the hypervisor's own text begins with.
const PREFIX: &str = "(XEN) ";

/// What can be configured, under Xen's option names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConsoleSettings {
    /// `loglvl=`.
    pub own: Thresholds,
    /// `guest_loglvl=`.
    pub guest: Thresholds,
    /// `conring_size=` in bytes.
    pub ring_bytes: usize,
    /// `console_to_ring`: what the hardware domain prints goes to the log ring too.
    pub guest_output_to_ring: bool,
    /// `console_timestamps`: lines carry the time since boot.
    pub timestamps: bool,
    /// `conswitch=`: the letter that switches the input with Ctrl; `None` turns switching off.
    pub switch: Option<char>,
}

impl Default for ConsoleSettings {
    fn default() -> Self {
        Self {
            own: Thresholds::OWN,
            guest: Thresholds::GUEST,
            ring_bytes: ring::MIN_RING_BYTES,
            guest_output_to_ring: false,
            timestamps: false,
            switch: Some('a'),
        }
    }
}

impl From<&Options> for ConsoleSettings {
    fn from(options: &Options) -> Self {
        let ring_bytes = options
            .conring_size
            .and_then(|bytes| usize::try_from(bytes).ok());
        Self {
            own: options.loglvl.into(),
            guest: options.guest_loglvl.into(),
            ring_bytes: ring_bytes.unwrap_or(ring::MIN_RING_BYTES),
            guest_output_to_ring: options.console_to_ring,
            timestamps: options.console_timestamps,
            switch: options.conswitch,
        }
    }
}

/// Where the `log` facade's records go: it has no machine at hand.
#[derive(Clone, Copy, Debug)]
pub struct Outlet {
    /// Writes bytes to the line.
    pub write: fn(&[u8]),
    /// Nanoseconds since boot.
    pub now_ns: fn() -> u64,
}

/// The console: a handle that can be cloned, so that the logger and the hypervisor share one.
#[derive(Clone, Debug)]
pub struct Console {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: ConsoleSettings,
    output: RankedMutex<Output>,
    input: RankedMutex<Input>,
    outlet: Once<Outlet>,
    /// The ring got text since VIRQ_CON_RING was last raised.
    ring_news: AtomicBool,
    /// The machine goes down: do not wait for whoever holds the lock.
    emergency: AtomicBool,
    registers: RegisterDump,
}

#[derive(Debug)]
struct Output {
    ring: LogRing,
    limits: RateLimits,
    guest_lines: GuestLines,
}

impl Default for Console {
    fn default() -> Self {
        Self::new(ConsoleSettings::default())
    }
}

impl Console {
    /// A console that has printed nothing yet. Input goes to the hypervisor.
    #[must_use]
    pub fn new(settings: ConsoleSettings) -> Self {
        let output = Output {
            ring: LogRing::new(settings.ring_bytes),
            limits: RateLimits::default(),
            guest_lines: GuestLines::default(),
        };
        Self {
            shared: Arc::new(Shared {
                settings,
                output: RankedMutex::new(Rank::Console, output),
                input: RankedMutex::new(Rank::Console, Input::new(settings.switch)),
                outlet: Once::new(),
                ring_news: AtomicBool::new(false),
                emergency: AtomicBool::new(false),
                registers: RegisterDump::default(),
            }),
        }
    }

    /// Says where records of the `log` facade go; the first call counts.
    pub fn set_outlet(&self, outlet: Outlet) {
        self.shared.outlet.call_once(|| outlet);
    }

    /// From now on output does not wait for a lock: the machine is going down, and whoever holds the lock may never
    /// give it back.
    pub fn start_emergency(&self) {
        self.shared.emergency.store(true, Ordering::SeqCst);
    }

    /// Prints text as lines of the hypervisor's own, whatever the level.
    pub fn print(&self, write: &dyn Fn(&[u8]), now_ns: u64, text: fmt::Arguments<'_>) {
        let text = self.own_lines(now_ns, text);
        self.with_output(|output| {
            if let Some(output) = output {
                output.ring.push(text.as_bytes());
            }
            line::write_cooked(write, text.as_bytes());
        });
        self.shared.ring_news.store(true, Ordering::Release);
    }

    /// Prints the hypervisor's own text if `loglvl=` lets `level` pass.
    pub fn print_at(
        &self,
        write: &dyn Fn(&[u8]),
        now_ns: u64,
        level: Level,
        text: fmt::Arguments<'_>,
    ) {
        self.print_judged(
            write,
            now_ns,
            self.shared.settings.own.judge(level),
            None,
            text,
        );
    }

    /// Prints a message of `level` that `cause` brought about, if thresholds and rate allow.
    pub fn print_for_guest(
        &self,
        write: &dyn Fn(&[u8]),
        now_ns: u64,
        cause: Option<DomId>,
        level: Level,
        text: fmt::Arguments<'_>,
    ) {
        self.print_judged(
            write,
            now_ns,
            self.shared.settings.guest.judge(level),
            cause,
            text,
        );
    }

    fn print_judged(
        &self,
        write: &dyn Fn(&[u8]),
        now_ns: u64,
        verdict: Verdict,
        cause: Option<DomId>,
        text: fmt::Arguments<'_>,
    ) {
        match verdict {
            Verdict::Drop => return,
            Verdict::Print => {}
            Verdict::Limit => {
                let admitted = self.with_output(|output| match output {
                    Some(output) => output.limits.bucket(cause).admit(now_ns),
                    None => Some(0),
                });
                match admitted {
                    None => return,
                    Some(0) => {}
                    Some(dropped) => {
                        self.print(
                            write,
                            now_ns,
                            format_args!("printk: {dropped} messages suppressed."),
                        );
                    }
                }
            }
        }
        self.print(write, now_ns, text);
    }

    /// Text with the prefix on each line and a line end after the last.
    fn own_lines(&self, now_ns: u64, text: fmt::Arguments<'_>) -> String {
        let mut plain = String::new();
        // Writing to a String cannot fail; a Display that reports an error leaves what it had written.
        let _ = plain.write_fmt(text);
        let mut out = String::with_capacity(plain.len() + 32);
        for line in plain.strip_suffix('\n').unwrap_or(&plain).split('\n') {
            out.push_str(PREFIX);
            if self.shared.settings.timestamps {
                let (secs, micros) = (now_ns / 1_000_000_000, now_ns % 1_000_000_000 / 1000);
                let _ = write!(out, "[{secs:5}.{micros:06}] ");
            }
            out.push_str(line);
            out.push('\n');
        }
        out
    }

    /// Writes what the hardware domain prints, as it is.
    pub fn write_raw(&self, write: &dyn Fn(&[u8]), bytes: &[u8]) {
        let to_ring = self.shared.settings.guest_output_to_ring;
        self.with_output(|output| {
            if let Some(output) = output.filter(|_| to_ring) {
                output.ring.push(bytes);
            }
            line::write_cooked(write, bytes);
        });
        if to_ring {
            self.shared.ring_news.store(true, Ordering::Release);
        }
    }

    /// Writes what another domain prints: whole lines, without control characters, and marked with its number.
    pub fn write_guest_text(
        &self,
        write: &dyn Fn(&[u8]),
        now_ns: u64,
        domain: DomId,
        bytes: &[u8],
    ) {
        let lines = self.with_output(|output| match output {
            Some(output) => output.guest_lines.add(domain, bytes),
            None => Vec::new(),
        });
        for line in lines {
            self.print_for_guest(
                write,
                now_ns,
                Some(domain),
                Level::Warning,
                format_args!("d{} {line}", domain.0),
            );
        }
    }

    /// Drops what is kept for a domain that is gone.
    pub fn forget(&self, domain: DomId) {
        self.with_output(|output| {
            if let Some(output) = output {
                output.limits.forget(domain);
                output.guest_lines.forget(domain);
            }
        });
    }

    /// Reads the log ring (XEN_SYSCTL_readconsole): up to `count` bytes from the oldest, or with `resume` from that
    /// position on; `clear` forgets them afterwards. Returns the bytes and the position after them.
    #[must_use]
    pub fn read_ring(&self, resume: Option<u32>, clear: bool, count: usize) -> (Vec<u8>, u32) {
        let mut output = self.shared.output.lock();
        let (bytes, end) = output.ring.read(resume, count);
        if clear {
            output.ring.clear_until(end);
        }
        (bytes, end)
    }

    /// Takes up to `max` bytes that were typed for the hardware domain.
    #[must_use]
    pub fn take_input(&self, max: usize) -> Vec<u8> {
        self.shared.input.lock().take(max)
    }

    /// Puts back input that could not be handed over.
    pub fn put_back_input(&self, bytes: &[u8]) {
        self.shared.input.lock().put_back(bytes);
    }

    /// Whether the ring got text since this was last asked: VIRQ_CON_RING is due then.
    #[must_use]
    pub fn take_ring_news(&self) -> bool {
        // Asked on every tick: only a line that is there is worth the exchange.
        self.shared.ring_news.load(Ordering::Relaxed)
            && self.shared.ring_news.swap(false, Ordering::AcqRel)
    }

    /// Runs `body` with the output locked; in an emergency without, if somebody else holds the lock.
    fn with_output<T>(&self, body: impl FnOnce(Option<&mut Output>) -> T) -> T {
        if self.shared.emergency.load(Ordering::SeqCst) {
            return match self.shared.output.try_lock() {
                Some(mut output) => body(Some(&mut output)),
                None => body(None),
            };
        }
        body(Some(&mut self.shared.output.lock()))
    }
}

impl log::Log for Console {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        let settings = &self.shared.settings;
        let thresholds = if metadata.target() == GUEST_TARGET {
            &settings.guest
        } else {
            &settings.own
        };
        thresholds.judge(metadata.level().into()) != Verdict::Drop
    }

    fn log(&self, record: &log::Record<'_>) {
        let Some(outlet) = self.shared.outlet.get() else {
            return;
        };
        let settings = &self.shared.settings;
        let thresholds = if record.target() == GUEST_TARGET {
            &settings.guest
        } else {
            &settings.own
        };
        let verdict = thresholds.judge(record.level().into());
        self.print_judged(
            &outlet.write,
            (outlet.now_ns)(),
            verdict,
            None,
            *record.args(),
        );
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests;
