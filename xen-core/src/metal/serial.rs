//! Serial console: a 16550-compatible UART, output polled, input by interrupt into a ring (PC16550D data sheet).
// UNSAFETY: port I/O.

use core::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use spin::Mutex;
use x86_64::instructions::port::Port;
use xen_core::boot::options::ComPort;

/// Register offsets from the base port.
mod register {
    /// Receive and transmit; low byte of the divisor with DLAB.
    pub const DATA: u16 = 0;
    /// Interrupt enable; high byte of the divisor with DLAB.
    pub const INTERRUPT_ENABLE: u16 = 1;
    /// FIFO control (write), interrupt identification (read).
    pub const FIFO_CONTROL: u16 = 2;
    /// Line control.
    pub const LINE_CONTROL: u16 = 3;
    /// Modem control.
    pub const MODEM_CONTROL: u16 = 4;
    /// Line status.
    pub const LINE_STATUS: u16 = 5;
    /// Scratch.
    pub const SCRATCH: u16 = 7;
}

const LINE_DLAB: u8 = 0x80;
const FIFO_ENABLE_AND_CLEAR: u8 = 0x07;
const MODEM_DTR_RTS_OUT2: u8 = 0x0b;
const INTERRUPT_RECEIVED: u8 = 0x01;
const STATUS_RECEIVED: u8 = 0x01;
const STATUS_CAN_SEND: u8 = 0x20;

/// Ports of a UART.
const REGISTERS: u16 = 8;
/// Bytes of the transmit FIFO.
const FIFO_DEPTH: usize = 16;
/// How often the status register is read before a port that never gets ready is given up.
const SEND_TRIES: u32 = 1 << 20;
/// Bytes of input that can wait.
const INPUT_RING: usize = 1024;

struct Uart {
    base: u16,
    input: [u8; INPUT_RING],
    head: usize,
    tail: usize,
}

static UART: Mutex<Option<Uart>> = Mutex::new(None);
/// First port of the console's UART, 0 without one: for questions that must not wait for the lock.
static BASE: AtomicU16 = AtomicU16::new(0);
/// Set by a panic: the lock's holder will never go on.
static PANICKING: AtomicBool = AtomicBool::new(false);

impl Uart {
    fn read(&self, register: u16) -> u8 {
        // SAFETY: the ports are those of the UART, which has no effect on memory.
        unsafe { Port::new(self.base + register).read() }
    }

    fn write(&self, register: u16, value: u8) {
        // SAFETY: as in `read`.
        unsafe { Port::new(self.base + register).write(value) }
    }

    /// True if there is a UART: its scratch register keeps what is written.
    fn is_there(&self) -> bool {
        [0x5a, 0xa5].into_iter().all(|pattern| {
            self.write(register::SCRATCH, pattern);
            self.read(register::SCRATCH) == pattern
        })
    }

    fn set_up(&self, port: &ComPort) {
        let parity = match port.parity {
            'o' => 0x08,
            'e' => 0x18,
            'm' => 0x28,
            's' => 0x38,
            _ => 0,
        };
        let format = (port.data_bits - 5) | (port.stop_bits - 1) << 2 | parity;
        self.write(register::INTERRUPT_ENABLE, 0);
        if let Some(divisor) = port.divisor() {
            self.write(register::LINE_CONTROL, format | LINE_DLAB);
            self.write(register::DATA, divisor as u8);
            self.write(register::INTERRUPT_ENABLE, (divisor >> 8) as u8);
        }
        self.write(register::LINE_CONTROL, format);
        self.write(register::FIFO_CONTROL, FIFO_ENABLE_AND_CLEAR);
        self.write(register::MODEM_CONTROL, MODEM_DTR_RTS_OUT2);
    }

    fn send(&self, bytes: &[u8]) {
        for chunk in bytes.chunks(FIFO_DEPTH) {
            let ready =
                (0..SEND_TRIES).any(|_| self.read(register::LINE_STATUS) & STATUS_CAN_SEND != 0);
            if !ready {
                return;
            }
            for &byte in chunk {
                self.write(register::DATA, byte);
            }
        }
    }

    /// Moves received bytes into the ring. What does not fit is lost, as on any terminal line.
    fn receive(&mut self) {
        for _ in 0..INPUT_RING {
            if self.read(register::LINE_STATUS) & STATUS_RECEIVED == 0 {
                break;
            }
            let byte = self.read(register::DATA);
            let next = (self.head + 1) % INPUT_RING;
            if next != self.tail {
                self.input[self.head] = byte;
                self.head = next;
            }
        }
    }
}

/// Sets up the port and makes it the console. False if there is no UART at its address.
pub fn init(port: &ComPort) -> bool {
    let uart = Uart {
        base: port.io_base,
        input: [0; INPUT_RING],
        head: 0,
        tail: 0,
    };
    if !uart.is_there() {
        return false;
    }
    uart.set_up(port);
    BASE.store(port.io_base, Ordering::Relaxed);
    *UART.lock() = Some(uart);
    true
}

/// Whether `port` is a register of the console's UART.
pub fn owns_port(port: u16) -> bool {
    let base = BASE.load(Ordering::Relaxed);
    base != 0 && (base..base.saturating_add(REGISTERS)).contains(&port)
}

/// Writes `bytes` as they are.
pub fn write(bytes: &[u8]) {
    if PANICKING.load(Ordering::Relaxed) {
        // SAFETY: after `take_over` only the panicking CPU runs this code.
        unsafe { UART.force_unlock() };
    }
    if let Some(uart) = UART.lock().as_ref() {
        uart.send(bytes);
    }
}

/// Lets received bytes raise the port's interrupt.
pub fn enable_interrupt() {
    if let Some(uart) = UART.lock().as_ref() {
        uart.write(register::INTERRUPT_ENABLE, INTERRUPT_RECEIVED);
    }
}

/// The next byte of input, if one waits. Looks at the port too, so that it serves without interrupts.
pub fn take_input() -> Option<u8> {
    let mut guard = UART.lock();
    let uart = guard.as_mut()?;
    uart.receive();
    if uart.head == uart.tail {
        return None;
    }
    let byte = uart.input[uart.tail];
    uart.tail = (uart.tail + 1) % INPUT_RING;
    Some(byte)
}

/// A panic takes the port away from whoever holds it.
pub fn take_over() {
    PANICKING.store(true, Ordering::Relaxed);
}

/// Text output with line ends as terminals want them.
pub struct Writer;

impl core::fmt::Write for Writer {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 {
                write(b"\r\n");
            }
            write(line.as_bytes());
        }
        Ok(())
    }
}
