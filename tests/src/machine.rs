//! A running machine, whichever program emulates it.

use crate::bochs::Bochs;
use crate::qemu::Qemu;
use crate::qmp::End;
use crate::serial::Serial;
use anyhow::{Result, bail};
use std::time::Duration;

/// A running machine.
pub enum Running {
    /// Emulated by QEMU.
    Qemu(Qemu),
    /// Emulated by Bochs.
    Bochs(Bochs),
}

impl Running {
    /// The serial line.
    pub fn serial(&mut self) -> &mut Serial {
        match self {
            Self::Qemu(qemu) => &mut qemu.serial,
            Self::Bochs(bochs) => &mut bochs.serial,
        }
    }

    /// Carry out a command of QEMU's control protocol.
    pub fn control(&mut self, command: &str) -> Result<()> {
        match self {
            Self::Qemu(qemu) => qemu.qmp.command(command).map(|_| ()),
            Self::Bochs(_) => bail!("Bochs cannot be told to {command}"),
        }
    }

    /// Carry out a command of QEMU's monitor for humans.
    pub fn monitor(&mut self, line: &str) -> Result<()> {
        match self {
            Self::Qemu(qemu) => qemu.qmp.monitor(line),
            Self::Bochs(_) => bail!("Bochs has no monitor for {line}"),
        }
    }

    /// Wait for the machine's end, at most `patience`.
    pub fn wait_for_end(&mut self, patience: Duration) -> Result<Option<End>> {
        match self {
            Self::Qemu(qemu) => qemu.wait_for_end(patience),
            Self::Bochs(bochs) => bochs.wait_for_end(patience),
        }
    }

    /// Whether the machine is still on.
    pub fn is_running(&mut self) -> bool {
        match self {
            Self::Qemu(qemu) => qemu.is_running(),
            Self::Bochs(bochs) => bochs.is_running(),
        }
    }

    /// Whether a processor triple-faulted.
    pub fn triple_faulted(&self) -> bool {
        match self {
            Self::Qemu(qemu) => qemu.triple_faulted(),
            Self::Bochs(bochs) => bochs.triple_faulted(),
        }
    }
}
