//! A boot test as data: a machine, what it boots, and steps that are carried out in order.
//!
//! ```
//! use xenolith_tests::scenario::{Scenario, End};
//!
//! let scenario = Scenario::linux("dom0-1g", "a shell with 1 GiB")
//!     .memory("1G")
//!     .dom0_append("checks=shell then=poweroff")
//!     .expect("CHECK shell ok")
//!     .end(End::PowerOff);
//! assert_eq!(scenario.name, "dom0-1g");
//! ```
//!
//! Patterns are regular expressions over what the serial line prints, in order. Lines that mean a crash (see
//! [`FATAL`]) end a scenario at once unless it says that it [tolerates](Scenario::tolerate) them.

use crate::devices::{Devices, ROOT};
use crate::pv_kernel::PvKernel;
use anyhow::Result;
use std::time::Duration;

pub use crate::qmp::End;

/// Lines that mean that something broke, wherever they appear.
pub const FATAL: [&str; 12] = [
    "AUDIT FAILED",
    "Panic on CPU",
    "FATAL (TRAP|PAGE FAULT)",
    "Xen BUG at",
    "panicked at",
    "Kernel panic",
    r"\bOops\b",
    r"\] BUG: ",
    r"WARNING: CPU: \d+ PID",
    r"CHECK [\w-]+ failed",
    r"conformance: \d+ passed, [1-9]\d* failed",
    "INIT could not",
];

/// The usual options of the hypervisor.
pub const APPEND: &str = "console=com1 com1=115200,8n1 loglvl=all guest_loglvl=all";

/// Dom0's kernel.
#[derive(Clone, Copy)]
pub enum Kernel {
    /// Debian's, or the one given on the command line.
    Linux,
    /// Debian's, changed before it is used.
    Altered(fn(Vec<u8>) -> Vec<u8>),
    /// Made on the spot.
    Made(fn() -> Vec<u8>),
    /// A program of `tests/guests`.
    Guest(&'static str),
    /// The module is left out.
    Missing,
}

/// Who emulates the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emulator {
    /// QEMU.
    Qemu,
    /// Bochs, which takes ten times as long.
    Bochs,
}

/// Who loads the hypervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loader {
    /// QEMU's `-kernel` (multiboot 1).
    Qemu,
    /// GRUB from a CD (multiboot 2).
    Grub,
}

/// One step of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait until this pattern is printed.
    Expect(String),
    /// Type at the console.
    Type(String),
    /// Carry out a command of QEMU's control protocol, such as `system_powerdown` or `inject-nmi`.
    Qmp(&'static str),
    /// A command of QEMU's monitor for humans, for what the control protocol does not have.
    Monitor(&'static str),
    /// Carry out a command over ssh; this pattern must be in what it prints. Only where there is a network.
    Ssh(&'static str, &'static str),
    /// Wait until the machine ends in this way.
    End(End),
    /// The machine must stay on, halted, for a while.
    StaysOn,
}

/// A boot test.
#[derive(Clone)]
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    /// Who emulates the machine.
    pub emulator: Emulator,
    /// The emulator's CPU model.
    pub cpu: String,
    /// Memory: a number and M or G.
    pub memory: &'static str,
    /// Processors.
    pub smp: u32,
    /// More arguments for QEMU.
    pub qemu: Vec<&'static str>,
    /// Whether there is a disk that the `disk` check knows.
    pub disk: bool,
    /// Who loads the hypervisor.
    pub loader: Loader,
    /// Options of the hypervisor behind [`APPEND`].
    pub append: &'static str,
    /// Dom0's kernel.
    pub kernel: Kernel,
    /// Options of dom0's kernel.
    pub dom0_append: String,
    /// Whether dom0 gets our initramfs.
    pub initramfs: bool,
    /// With these devices dom0 goes on from its initramfs into a whole Debian.
    pub debian: Option<Devices>,
    /// Whether the machine starts anew when it is reset.
    pub reboots: bool,
    /// Whether that has Debian's toolstack in it, and guests.
    pub stock_xl: bool,
    /// Whether the toolstack is in it and runs.
    pub toolstack: bool,
    /// Whether Debian's Xen is the hypervisor, whichever the others run on.
    pub on_xen: bool,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// Patterns of [`FATAL`] that belong to this scenario.
    pub tolerated: Vec<&'static str>,
    /// Whether it takes so long that it runs only when asked for.
    pub long: bool,
    /// How long to wait in one step.
    pub patience: Duration,
    /// Why it shows nothing on Debian's Xen, if so.
    pub not_on_xen: Option<&'static str>,
}

impl Scenario {
    /// Debian's Linux with our initramfs as dom0.
    pub fn linux(name: &'static str, about: &'static str) -> Self {
        Self {
            name,
            about,
            emulator: Emulator::Qemu,
            cpu: "max".into(),
            memory: "1G",
            smp: 1,
            qemu: Vec::new(),
            disk: false,
            loader: Loader::Qemu,
            append: "",
            kernel: Kernel::Linux,
            dom0_append: "console=hvc0".into(),
            initramfs: true,
            debian: None,
            reboots: false,
            stock_xl: false,
            toolstack: false,
            on_xen: false,
            steps: Vec::new(),
            tolerated: Vec::new(),
            long: false,
            patience: Duration::from_secs(240),
            not_on_xen: None,
        }
    }

    /// A whole Debian as dom0 on a machine with `devices`, up to a shell on its console.
    pub fn debian(name: &'static str, about: &'static str, devices: Devices) -> Self {
        let patience = Duration::from_secs(600);
        Self {
            debian: Some(devices),
            patience,
            ..Self::linux(name, about)
        }
        .dom0_append(ROOT)
        .login()
    }

    /// Another kernel, alone, as first domain. It has a minute for each step.
    pub fn kernel(name: &'static str, about: &'static str, kernel: Kernel) -> Self {
        let patience = Duration::from_secs(60);
        Self {
            kernel,
            patience,
            initramfs: false,
            dom0_append: String::new(),
            memory: "256M",
            ..Self::linux(name, about)
        }
    }

    /// A program of `tests/guests` as first domain.
    pub fn guest(name: &'static str, about: &'static str, program: &'static str) -> Self {
        Self::kernel(name, about, Kernel::Guest(program))
    }

    /// Choose the CPU model.
    #[must_use]
    pub fn cpu(self, cpu: &str) -> Self {
        Self {
            cpu: cpu.into(),
            ..self
        }
    }

    /// Choose the memory.
    #[must_use]
    pub fn memory(self, memory: &'static str) -> Self {
        Self { memory, ..self }
    }

    /// Choose the number of processors.
    #[must_use]
    pub fn smp(self, smp: u32) -> Self {
        Self { smp, ..self }
    }

    /// Add arguments for QEMU.
    #[must_use]
    pub fn qemu(mut self, arguments: &[&'static str]) -> Self {
        self.qemu.extend(arguments);
        self
    }

    /// Give it the disk that the `disk` check expects.
    #[must_use]
    pub fn disk(self) -> Self {
        Self { disk: true, ..self }
    }

    /// Give dom0 Debian's toolstack, guests, and memory left for them.
    #[must_use]
    pub fn stock_xl(self) -> Self {
        Self {
            stock_xl: true,
            append: "dom0_mem=512M,max:512M",
            ..self
        }
    }

    /// Boot from a CD through GRUB.
    #[must_use]
    pub fn grub(self) -> Self {
        Self {
            loader: Loader::Grub,
            ..self
        }
    }

    /// Run in Bochs, as a processor of `model`, from a CD.
    #[must_use]
    pub fn bochs(self, model: &str) -> Self {
        let patience = self.patience * 4;
        Self {
            emulator: Emulator::Bochs,
            patience,
            ..self.cpu(model).grub()
        }
    }

    /// Start the toolstack in dom0.
    #[must_use]
    pub fn toolstack(self) -> Self {
        Self {
            toolstack: true,
            ..self
        }
    }

    /// Run on Debian's Xen: what is shown is a program's, not the hypervisor's.
    #[must_use]
    pub fn on_xen(self) -> Self {
        Self {
            on_xen: true,
            ..self
        }
    }

    /// Set the options of the hypervisor behind the usual ones.
    #[must_use]
    pub fn append(self, append: &'static str) -> Self {
        Self { append, ..self }
    }

    /// Add options for dom0's kernel.
    #[must_use]
    pub fn dom0_append(mut self, more: &str) -> Self {
        self.dom0_append.push(' ');
        self.dom0_append.push_str(more);
        self
    }

    /// Use another kernel in an otherwise usual boot.
    #[must_use]
    pub fn with_kernel(self, kernel: Kernel) -> Self {
        Self { kernel, ..self }
    }

    /// Next, wait until `pattern` is printed.
    #[must_use]
    pub fn expect(self, pattern: &str) -> Self {
        self.step(Step::Expect(pattern.to_owned()))
    }

    /// Next, wait until check `name` of dom0's initramfs reports success.
    #[must_use]
    pub fn check(self, name: &str) -> Self {
        self.expect(&format!("CHECK {name} ok"))
    }

    /// Next, log in at Debian's console.
    #[must_use]
    pub fn login(self) -> Self {
        self.expect("dom0 login: ")
            .enter("root\n")
            .expect("root@dom0:~# ")
    }

    /// Next, carry out checks of `tests/debian/checks` at Debian's shell: words `NAME` or `NAME:NUMBER`.
    #[must_use]
    pub fn debian_checks(self, orders: &str) -> Self {
        let begun = self.enter(&format!("/run/checks/check {orders}\n"));
        let names = orders.split(' ').map(|order| order.split(':').next());
        let checked = names
            .flatten()
            .fold(begun, |scenario, name| scenario.check(name));
        checked.expect("root@dom0:~# ")
    }

    /// Next, carry out `command` over ssh; `pattern` must be in what it prints.
    #[must_use]
    pub fn ssh(self, command: &'static str, pattern: &'static str) -> Self {
        self.step(Step::Ssh(command, pattern))
    }

    /// When the machine is reset, it starts anew.
    #[must_use]
    pub fn reboots(self) -> Self {
        Self {
            reboots: true,
            ..self
        }
    }

    /// Wait longer or shorter in each step.
    #[must_use]
    pub fn patience(self, seconds: u64) -> Self {
        let patience = Duration::from_secs(seconds);
        Self { patience, ..self }
    }

    /// Next, type `text`.
    #[must_use]
    pub fn enter(self, text: &str) -> Self {
        self.step(Step::Type(text.to_owned()))
    }

    /// Next, carry out a command of QEMU's control protocol.
    #[must_use]
    pub fn qmp(self, command: &'static str) -> Self {
        self.step(Step::Qmp(command))
    }

    /// Next, carry out a command of QEMU's monitor for humans.
    #[must_use]
    pub fn monitor(self, command: &'static str) -> Self {
        self.step(Step::Monitor(command))
    }

    /// Last, wait for the machine's end.
    #[must_use]
    pub fn end(self, end: End) -> Self {
        self.step(Step::End(end))
    }

    /// Last, the machine stays on but does no more.
    #[must_use]
    pub fn stays_on(self) -> Self {
        self.step(Step::StaysOn)
    }

    /// Lines that match this member of [`FATAL`] belong to the scenario.
    #[must_use]
    pub fn tolerate(mut self, pattern: &'static str) -> Self {
        self.tolerated.push(pattern);
        self
    }

    /// Run only when asked for.
    #[must_use]
    pub fn long(self) -> Self {
        Self { long: true, ..self }
    }

    /// Leave it out on Debian's Xen, for this reason.
    #[must_use]
    pub fn not_on_xen(self, reason: &'static str) -> Self {
        Self {
            not_on_xen: Some(reason),
            ..self
        }
    }

    /// Dom0's kernel as file contents; `None` where the module is left out or is a file already.
    pub fn made_kernel(&self, linux: impl FnOnce() -> Result<Vec<u8>>) -> Result<Option<Vec<u8>>> {
        Ok(match self.kernel {
            Kernel::Altered(change) => Some(change(linux()?)),
            Kernel::Made(make) => Some(make()),
            Kernel::Linux | Kernel::Guest(_) | Kernel::Missing => None,
        })
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

/// The smallest kernel that prints and switches off.
pub fn hello() -> Vec<u8> {
    PvKernel::default().file()
}
