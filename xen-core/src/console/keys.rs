//! Debug keys: single letters typed while input goes to the hypervisor, with the letters that Xen uses.

use hypercall_abi::xen::DomId;

use super::input::Typed;
use super::{Level, Receiver};
use crate::domain::{Domain, Vcpu};
use crate::evtchn::Binding;
use crate::hypervisor::Hypervisor;
use crate::machine::{Machine, ResetKind};
use crate::num::{CpuId, Port};
use crate::sync::{LockUse, Rank, lock_use, reset_lock_use};

/// One debug key.
struct Key<M> {
    letter: u8,
    does: &'static str,
    /// Part of `*`, which runs all that only print.
    diagnostic: bool,
    run: fn(&Hypervisor<M>),
}

/// Bytes taken from the line in one go.
const MAX_BYTES_PER_POLL: usize = 256;

impl<M: Machine> Hypervisor<M> {
    const KEYS: &'static [Key<M>] = &[
        Key {
            letter: b'!',
            does: "hang (only with test_keys)",
            diagnostic: false,
            run: Self::key_hang,
        },
        Key {
            letter: b'*',
            does: "print all diagnostics",
            diagnostic: false,
            run: Self::key_all,
        },
        Key {
            letter: b'0',
            does: "dump Dom0 registers",
            diagnostic: true,
            run: Self::key_dom0,
        },
        Key {
            letter: b'M',
            does: "dump MSI state",
            diagnostic: true,
            run: Self::key_msi,
        },
        Key {
            letter: b'O',
            does: "recount page references and compare all books",
            diagnostic: false,
            run: Self::request_audit,
        },
        Key {
            letter: b'Q',
            does: "dump PCI devices",
            diagnostic: true,
            run: Self::key_pci,
        },
        Key {
            letter: b'R',
            does: "reboot machine",
            diagnostic: false,
            run: Self::key_reboot,
        },
        Key {
            letter: b'c',
            does: "dump ACPI Cx structures",
            diagnostic: true,
            run: Self::key_power,
        },
        Key {
            letter: b'd',
            does: "dump registers",
            diagnostic: true,
            run: Self::key_registers,
        },
        Key {
            letter: b'e',
            does: "dump evtchn info",
            diagnostic: true,
            run: Self::key_events,
        },
        Key {
            letter: b'h',
            does: "show this message",
            diagnostic: false,
            run: Self::key_help,
        },
        Key {
            letter: b'i',
            does: "dump interrupt bindings",
            diagnostic: true,
            run: Self::key_irqs,
        },
        Key {
            letter: b'L',
            does: "reset lock counters",
            diagnostic: false,
            run: Self::key_reset_locks,
        },
        Key {
            letter: b'l',
            does: "print lock counters",
            diagnostic: true,
            run: Self::key_locks,
        },
        Key {
            letter: b'm',
            does: "memory info",
            diagnostic: true,
            run: Self::key_memory,
        },
        Key {
            letter: b'q',
            does: "dump domain info",
            diagnostic: true,
            run: Self::key_domains,
        },
        Key {
            letter: b'r',
            does: "dump run queues",
            diagnostic: true,
            run: Self::key_run_queues,
        },
        Key {
            letter: b't',
            does: "display clock info",
            diagnostic: true,
            run: Self::key_time,
        },
        Key {
            letter: b'w',
            does: "dump console ring buffer (dmesg)",
            diagnostic: false,
            run: Self::key_ring,
        },
    ];

    /// Prints a line of the hypervisor's own, whatever the log level.
    pub fn print(&self, text: core::fmt::Arguments<'_>) {
        let machine = &self.machine;
        self.console.print(
            &|bytes| machine.write_console(bytes),
            machine.now_ns(),
            text,
        );
    }

    /// Prints a line of the hypervisor's own if `loglvl=` lets `level` pass.
    pub fn print_at(&self, level: Level, text: core::fmt::Arguments<'_>) {
        let machine = &self.machine;
        let write = |bytes: &[u8]| machine.write_console(bytes);
        self.console.print_at(&write, machine.now_ns(), level, text);
    }

    /// Prints a message that `domain` brought about, as `guest_loglvl=` and the domain's rate allow.
    pub fn print_for_guest(&self, domain: DomId, level: Level, text: core::fmt::Arguments<'_>) {
        let machine = &self.machine;
        self.console.print_for_guest(
            &|bytes| machine.write_console(bytes),
            machine.now_ns(),
            Some(domain),
            level,
            text,
        );
    }

    /// Gives input to the hardware domain and says so: the last step of the boot. With `start_in_xen`
    /// (`conswitch=ax`) input stays with the hypervisor.
    pub fn start_console_input(&self) {
        let receiver = if self.options.start_in_xen {
            Receiver::Hypervisor
        } else {
            Receiver::HardwareDomain
        };
        self.console.shared.input.lock().hand_over(receiver);
        self.announce_receiver(receiver);
    }

    fn announce_receiver(&self, receiver: Receiver) {
        let name = match receiver {
            Receiver::Hypervisor => "Xen",
            Receiver::HardwareDomain => "DOM0",
        };
        let letter = self.console.shared.input.lock().switch_letter();
        match letter {
            Some(letter) => self.print(format_args!(
                "*** Serial input to {name} (type 'CTRL-{letter}' three times to switch input)"
            )),
            None => self.print(format_args!("*** Serial input to {name}")),
        }
    }

    /// Takes what was typed and hands it to whoever gets input; raises VIRQ_CONSOLE for the hardware domain. Called
    /// for the serial line's interrupt, and from the timer where the line has none.
    pub fn poll_console(&self) {
        let mut for_domain = false;
        for _ in 0..MAX_BYTES_PER_POLL {
            let Some(byte) = self.machine.read_console() else {
                break;
            };
            let typed = self.console.shared.input.lock().typed(byte);
            match typed {
                Typed::Held => {}
                Typed::Switched(receiver) => self.announce_receiver(receiver),
                Typed::ForDomain => for_domain = true,
                Typed::Key(key) => self.debug_key(key),
            }
        }
        if for_domain {
            self.send_global_virq(hypercall_abi::xen::Virq::CONSOLE);
        }
        self.announce_log();
    }

    /// Raises VIRQ_CON_RING if the log got text since the last time. Not called where text is printed, because locks
    /// may be held there.
    pub fn announce_log(&self) {
        if self.console.take_ring_news() {
            self.send_global_virq(hypercall_abi::xen::Virq::CON_RING);
        }
    }

    /// Runs the debug key `key` (also for XEN_SYSCTL_debug_keys). Unknown keys do nothing.
    pub fn debug_key(&self, key: u8) {
        if let Some(found) = Self::KEYS.iter().find(|candidate| candidate.letter == key) {
            if key != b'h' {
                self.print(format_args!(
                    "'{}' pressed -> {}",
                    char::from(key),
                    found.does
                ));
            }
            (found.run)(self);
        }
    }

    fn key_help(&self) {
        self.print(format_args!("'h' pressed -> showing installed handlers"));
        for key in Self::KEYS {
            let letter = char::from(key.letter);
            self.print(format_args!(
                " key '{letter}' (ascii '{:02x}') => {}",
                key.letter, key.does
            ));
        }
    }

    fn key_all(&self) {
        for key in Self::KEYS.iter().filter(|key| key.diagnostic) {
            self.print(format_args!("[{}: {}]", char::from(key.letter), key.does));
            (key.run)(self);
        }
    }

    fn key_reboot(&self) {
        self.machine.reset(ResetKind::Default)
    }

    /// What the watchdog is there for.
    fn key_hang(&self) {
        if self.options.test_keys {
            loop {
                core::hint::spin_loop();
            }
        }
    }

    fn key_registers(&self) {
        self.request_registers(&self.machine.online());
    }

    fn key_dom0(&self) {
        let Some(domain) = self.domains.hardware() else {
            self.print(format_args!("there is no hardware domain"));
            return;
        };
        for vcpu in domain.vcpus() {
            // Bound to a value: the lock must not be held while printing.
            let running = vcpu.is_running();
            if running {
                let cpu = CpuId(vcpu.cpu.load(core::sync::atomic::Ordering::Relaxed));
                self.request_registers(&crate::machine::CpuMask::single(cpu));
            } else if let Some(ctx) = vcpu.parked.lock().as_ref() {
                self.print_registers(None, vcpu, ctx, &ctx.regs);
            }
        }
    }

    fn key_domains(&self) {
        for domain in self.domains.all() {
            self.print_domain(&domain);
        }
    }

    fn print_domain(&self, domain: &Domain) {
        let ending = *domain.ending.lock();
        self.print(format_args!(
            "General information for domain {}: {} vcpus, paused {}, dying {}, shutdown {:?}",
            domain.id.0,
            domain.vcpus().count(),
            domain
                .pause_count
                .load(core::sync::atomic::Ordering::Relaxed),
            u32::from(ending.dying),
            ending.shutdown,
        ));
        for vcpu in domain.vcpus() {
            self.print_vcpu(vcpu);
        }
    }

    fn print_vcpu(&self, vcpu: &Vcpu) {
        let (pending, masked) = match vcpu.info() {
            Some(info) => (
                info.upcall_pending(&self.machine),
                info.upcall_mask_byte(&self.machine),
            ),
            None => (false, 0),
        };
        self.print(format_args!(
            "    VCPU{}: CPU{} [running={}] flags={:?} upcall_pend={:02x} upcall_mask={masked:02x}",
            vcpu.id.0,
            vcpu.cpu.load(core::sync::atomic::Ordering::Relaxed),
            u32::from(vcpu.is_running()),
            vcpu.flags(),
            u8::from(pending),
        ));
    }

    fn key_memory(&self) {
        self.print(format_args!(
            "Physical memory: {} pages free, {} claimed, frames up to {:#x}",
            self.mem.free_pages(),
            self.mem.claimed_pages(),
            self.mem.max_page(),
        ));
        for domain in self.domains.all() {
            self.print(format_args!(
                "    Domain {}: {} pages of at most {}, {} claimed",
                domain.id.0,
                domain.pages.total_pages(),
                domain.pages.max_pages(),
                domain.pages.claimed(),
            ));
        }
    }

    fn key_events(&self) {
        for domain in self.domains.all() {
            self.print(format_args!(
                "Event channel information for domain {}:",
                domain.id.0
            ));
            self.print(format_args!("    port [p/m]"));
            for port in (1..domain.events.valid_ports()).map(Port) {
                self.print_port(&domain, port);
            }
        }
    }

    fn print_port(&self, domain: &Domain, port: Port) {
        let Ok(status) = self.port_status(domain, port) else {
            return;
        };
        let pending = u32::from(self.event_pending_for_poll(domain, port));
        let masked = u32::from(self.event_masked(domain, port));
        let head = format_args!(
            "    {:4} [{pending}/{masked}]: v{} ",
            port.0, status.notify.0
        );
        match status.binding {
            Binding::Free | Binding::Reserved => {}
            Binding::Unbound { remote } => self.print(format_args!("{head}unbound d{}", remote.0)),
            Binding::Interdomain(peer) => {
                self.print(format_args!("{head}d{} port {}", peer.id.0, peer.port.0));
            }
            Binding::Pirq(pirq) => self.print(format_args!("{head}pirq {}", pirq.0)),
            Binding::Virq(virq) => self.print(format_args!("{head}{virq:?}")),
            Binding::Ipi => self.print(format_args!("{head}ipi")),
        }
    }

    fn key_run_queues(&self) {
        self.print(format_args!("now={}", self.machine.now_ns()));
        for line in self.sched.describe() {
            self.print(format_args!("{line}"));
        }
    }

    fn key_locks(&self) {
        for rank in Rank::ALL {
            let LockUse {
                taken,
                contended,
                spins,
            } = lock_use(rank);
            self.print(format_args!(
                "    {rank:?}: {taken} taken, {contended} after waiting, {spins} spins"
            ));
        }
    }

    fn key_reset_locks(&self) {
        reset_lock_use();
    }

    fn key_time(&self) {
        let machine = &self.machine;
        let (tsc, at_ns) = machine.time_base();
        self.print(format_args!(
            "TSC {} kHz, {}; base: TSC {tsc:#x} at {at_ns} ns; now {} ns",
            machine.tsc_khz(),
            if machine.tsc_is_reliable() {
                "reliable"
            } else {
                "not reliable"
            },
            machine.now_ns(),
        ));
    }

    fn key_irqs(&self) {
        for line in self.irqs.describe_irqs() {
            self.print(format_args!("{line}"));
        }
    }

    fn key_msi(&self) {
        for line in self.irqs.describe_msi() {
            self.print(format_args!("{line}"));
        }
    }

    fn key_pci(&self) {
        for line in self.irqs.describe_pci() {
            self.print(format_args!("{line}"));
        }
    }

    fn key_power(&self) {
        for line in self.power.describe() {
            self.print(format_args!("{line}"));
        }
    }

    fn key_ring(&self) {
        let (bytes, _) = self.console.read_ring(None, false, usize::MAX);
        self.machine.write_console(b"\r\n");
        super::line::write_cooked(&|chunk| self.machine.write_console(chunk), &bytes);
    }
}
