//! Values of options: numbers, sizes, levels, serial ports.

use super::Consoles;

/// A boolean's value.
pub(super) fn boolean(value: &str) -> Option<bool> {
    match value {
        "yes" | "on" | "true" | "enable" | "1" => Some(true),
        "no" | "off" | "false" | "disable" | "0" => Some(false),
        _ => None,
    }
}

/// A number: decimal, `0x` hexadecimal or, with a leading zero, octal.
pub(super) fn number(value: &str) -> Option<u32> {
    u32::try_from(long(value)?).ok()
}

fn long(value: &str) -> Option<u64> {
    let (digits, radix) = match value.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None if value.len() > 1 && value.starts_with('0') => (&value[1..], 8),
        None => (value, 10),
    };
    // from_str_radix would take a sign.
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

/// A size: a number with a suffix B, K, M, G or T; without one it counts in units of 2 to the power of `shift` bytes.
pub(super) fn size(value: &str, shift: u32) -> Option<u64> {
    let (digits, shift) = match value.char_indices().next_back()? {
        (at, 'b' | 'B') if !value.starts_with("0x") => (&value[..at], 0),
        (at, 'k' | 'K') => (&value[..at], 10),
        (at, 'm' | 'M') => (&value[..at], 20),
        (at, 'g' | 'G') => (&value[..at], 30),
        (at, 't' | 'T') => (&value[..at], 40),
        _ => (value, shift),
    };
    long(digits)?.checked_mul(1 << shift)
}

/// `console=` value: a list of `com1`, `com2`, `vga` and `none`.
pub(super) fn consoles(value: &str) -> Option<Consoles> {
    let mut consoles = Consoles::default();
    for name in value.split(',') {
        match name {
            // A letter after the port chooses a half of a shared line (`com1H`); the port is what counts here.
            "com1" | "com1H" | "com1L" => consoles.com1 = true,
            "com2" | "com2H" | "com2L" => consoles.com2 = true,
            "vga" => consoles.vga = true,
            "none" => {}
            _ => return None,
        }
    }
    Some(consoles)
}

/// Which messages pass: all up to this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Threshold {
    /// Nothing passes.
    None,
    /// Errors.
    Error,
    /// Warnings too.
    Warning,
    /// Information too.
    Info,
    /// Everything.
    Debug,
}

impl Threshold {
    fn parse(value: &str) -> Option<Self> {
        Some(match value {
            "none" => Self::None,
            "error" => Self::Error,
            "warning" => Self::Warning,
            "info" => Self::Info,
            "debug" | "all" => Self::Debug,
            _ => return None,
        })
    }
}

/// A log level option: `<always>[/<rate limited>]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLevels {
    /// Messages up to this kind are always printed.
    pub always: Threshold,
    /// Messages above that and up to this kind are printed at a limited rate.
    pub rate_limited: Threshold,
}

impl LogLevels {
    pub(super) fn parse(value: &str) -> Option<Self> {
        let (always, limited) = value.split_once('/').unwrap_or((value, value));
        let (always, rate_limited) = (Threshold::parse(always)?, Threshold::parse(limited)?);
        Some(Self {
            always,
            rate_limited: rate_limited.max(always),
        })
    }
}

/// An amount of memory: absolute, or relative to what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemSize {
    /// Bytes.
    pub bytes: u64,
    /// The bytes are to be left over, not to be taken (a minus sign in front).
    pub all_but: bool,
    /// Percentage of all memory, added to the bytes.
    pub percent: u8,
}

impl MemSize {
    /// The amount in bytes on a machine with `total` bytes.
    pub fn resolve(&self, total: u64) -> u64 {
        if self.all_but {
            return total.saturating_sub(self.bytes);
        }
        // Divided first: no overflow, and less than 100 bytes are lost.
        (total / 100)
            .saturating_mul(u64::from(self.percent))
            .saturating_add(self.bytes)
    }

    /// `[-]<size>`, `<n>%` or `<size>+<n>%`.
    fn parse(value: &str) -> Option<Self> {
        if let Some(rest) = value.strip_prefix('-') {
            return Some(Self {
                bytes: size(rest, 10)?,
                all_but: true,
                percent: 0,
            });
        }
        let Some(rest) = value.strip_suffix('%') else {
            return Some(Self {
                bytes: size(value, 10)?,
                all_but: false,
                percent: 0,
            });
        };
        let (bytes, percent) = rest.rsplit_once('+').unwrap_or(("0", rest));
        let percent = u8::try_from(number(percent)?)
            .ok()
            .filter(|&percent| percent <= 100)?;
        Some(Self {
            bytes: size(bytes, 10)?,
            all_but: false,
            percent,
        })
    }
}

/// `dom0_mem=`: a comma-separated list of an amount, `min:` and `max:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dom0Mem {
    /// The amount wanted.
    pub fixed: Option<MemSize>,
    /// Not less than this.
    pub min: Option<MemSize>,
    /// Not more than this; also the reservation that the domain may grow to.
    pub max: Option<MemSize>,
}

impl Dom0Mem {
    /// The control domain's memory in pages, where `available` pages can be had and `default` are given unless told
    /// otherwise. Where the limits contradict each other the upper one holds.
    #[must_use]
    pub fn pages(&self, available: u64, default: u64) -> u64 {
        let pages = |size: &MemSize| size.resolve(available << 12) >> 12;
        let wanted = self.fixed.as_ref().map_or(default, pages);
        let min = self.min.as_ref().map_or(0, pages);
        let max = self.max.as_ref().map_or(u64::MAX, pages);
        wanted.max(min).min(max).min(available)
    }

    pub(super) fn parse(value: &str) -> Option<Self> {
        let mut out = Self::default();
        for part in value.split(',') {
            if let Some(rest) = part.strip_prefix("min:") {
                out.min = Some(MemSize::parse(rest)?);
            } else if let Some(rest) = part.strip_prefix("max:") {
                out.max = Some(MemSize::parse(rest)?);
            } else {
                out.fixed = Some(MemSize::parse(part)?);
            }
        }
        Some(out)
    }
}

/// `dom0_max_vcpus=`: `<n>`, or `<min>-<max>` where either may be absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VcpuCount {
    /// Not fewer.
    pub min: u32,
    /// Not more.
    pub max: u32,
}

impl Default for VcpuCount {
    fn default() -> Self {
        Self {
            min: 1,
            max: u32::MAX,
        }
    }
}

impl VcpuCount {
    pub(super) fn parse(value: &str) -> Option<Self> {
        let Some((min, max)) = value.split_once('-') else {
            let count = number(value)?.max(1);
            return Some(Self {
                min: count,
                max: count,
            });
        };
        let min = if min.is_empty() {
            1
        } else {
            number(min)?.max(1)
        };
        let max = if max.is_empty() {
            u32::MAX
        } else {
            number(max)?
        };
        (min <= max).then_some(Self { min, max })
    }
}

/// A serial port: `<baud>[/<clock>][,<format>[,<I/O base>[,<irq>]]]`, where the baud rate may be `auto` (leave it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComPort {
    /// Bits per second; `None` leaves what the firmware set.
    pub baud: Option<u32>,
    /// Clock of the baud rate generator, in hertz.
    pub clock_hz: u32,
    /// Data bits, 5 to 8.
    pub data_bits: u8,
    /// Parity: `n`, `o`, `e`, `m` or `s`.
    pub parity: char,
    /// Stop bits, 1 or 2.
    pub stop_bits: u8,
    /// First I/O port.
    pub io_base: u16,
    /// ISA interrupt; 0 means polling.
    pub irq: u8,
}

impl ComPort {
    /// The PC's first port, at the rate the firmware set.
    pub const fn first() -> Self {
        Self {
            baud: None,
            clock_hz: 1_843_200,
            data_bits: 8,
            parity: 'n',
            stop_bits: 1,
            io_base: 0x3f8,
            irq: 4,
        }
    }

    /// The PC's second port.
    pub const fn second() -> Self {
        Self {
            io_base: 0x2f8,
            irq: 3,
            ..Self::first()
        }
    }

    /// This port with what `value` changes.
    pub(super) fn parse(self, value: &str) -> Option<Self> {
        let mut port = self;
        let mut parts = value.split(',');
        let (rate, clock) = match parts.next()?.split_once('/') {
            Some((rate, clock)) => (rate, Some(clock)),
            None => (value.split(',').next()?, None),
        };
        port.baud = match rate {
            "auto" => None,
            rate => Some(number(rate).filter(|&rate| rate > 0)?),
        };
        if let Some(clock) = clock {
            // Given as sixteen times the highest rate, in hertz.
            port.clock_hz = number(clock).filter(|&clock| clock > 0)?;
        }
        if let Some(format) = parts.next().filter(|format| !format.is_empty()) {
            let [
                bits @ b'5'..=b'8',
                parity @ (b'n' | b'o' | b'e' | b'm' | b's'),
                stop @ (b'1' | b'2'),
            ] = format.as_bytes()
            else {
                return None;
            };
            (port.data_bits, port.parity, port.stop_bits) =
                (bits - b'0', char::from(*parity), stop - b'0');
        }
        if let Some(base) = parts.next().filter(|base| !base.is_empty()) {
            port.io_base = u16::try_from(number(base)?)
                .ok()
                .filter(|&base| base > 0 && base <= 0xfff8)?;
        }
        if let Some(irq) = parts.next().filter(|irq| !irq.is_empty()) {
            port.irq = u8::try_from(number(irq)?).ok().filter(|&irq| irq < 16)?;
        }
        Some(port)
    }

    /// The divisor of the clock that gives the rate, if a rate was given.
    pub fn divisor(&self) -> Option<u16> {
        let rate = self.baud?.checked_mul(16)?;
        u16::try_from(self.clock_hz / rate.max(1))
            .ok()
            .map(|divisor| divisor.max(1))
    }
}
