//! One QEMU process is one machine: started, listened to, and gone when the value is dropped.

use crate::artifacts::host;
use crate::qmp::{End, Qmp};
use crate::serial::Serial;
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The emulated computer.
#[derive(Clone, Debug)]
pub struct Machine {
    /// QEMU's CPU model.
    pub cpu: String,
    /// Memory, as QEMU's `-m` takes it.
    pub memory: String,
    /// Processors.
    pub smp: u32,
    /// Whether to use KVM instead of emulation.
    pub kvm: bool,
    /// Whether it starts anew when it is reset, instead of ending.
    pub reboots: bool,
    /// More arguments for QEMU.
    pub extra: Vec<String>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            cpu: "max".into(),
            memory: "1G".into(),
            smp: 1,
            kvm: false,
            reboots: false,
            extra: Vec::new(),
        }
    }
}

/// One multiboot module: a file and its command line.
#[derive(Clone, Debug)]
pub struct Module {
    /// The file.
    pub path: PathBuf,
    /// What stands behind it.
    pub arguments: String,
}

/// What the machine starts from.
#[derive(Clone, Debug)]
pub enum Boot {
    /// QEMU's multiboot loader.
    Multiboot {
        /// The hypervisor.
        kernel: PathBuf,
        /// Its command line.
        append: String,
        /// Its modules.
        modules: Vec<Module>,
    },
    /// A Linux kernel without any hypervisor.
    Linux {
        /// The bzImage.
        kernel: PathBuf,
        /// Its command line.
        append: String,
        /// Its initramfs.
        initrd: PathBuf,
    },
    /// A bootable CD, read by the machine's firmware.
    CdRom(PathBuf),
}

/// QEMU's command line for `machine` and `boot`, without the choice of consoles.
pub fn arguments(machine: &Machine, boot: &Boot) -> Vec<OsString> {
    let mut list: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| list.extend(words.iter().map(OsString::from));
    add(&["-accel", if machine.kvm { "kvm" } else { "tcg" }]);
    add(&[
        "-cpu",
        &machine.cpu,
        "-m",
        &machine.memory,
        "-smp",
        &machine.smp.to_string(),
    ]);
    for word in &machine.extra {
        add(&[word]);
    }
    match boot {
        Boot::Multiboot {
            kernel,
            append,
            modules,
        } => {
            list.extend(["-kernel".into(), kernel.into()]);
            list.extend(["-append".into(), append.into()]);
            if !modules.is_empty() {
                let modules: Vec<String> = modules.iter().map(module_argument).collect();
                list.extend(["-initrd".into(), modules.join(",").into()]);
            }
        }
        Boot::Linux {
            kernel,
            append,
            initrd,
        } => {
            list.extend(["-kernel".into(), kernel.into()]);
            list.extend(["-append".into(), append.into()]);
            list.extend(["-initrd".into(), initrd.into()]);
        }
        Boot::CdRom(image) => list.extend(["-cdrom".into(), image.into()]),
    }
    list
}

/// A module as `-initrd` takes it. Commas part modules, so those within one are doubled.
fn module_argument(module: &Module) -> String {
    let words = format!("{} {}", module.path.display(), module.arguments);
    words.trim_end().replace(',', ",,")
}

/// A machine that runs.
pub struct Qemu {
    child: Child,
    /// Its serial line.
    pub serial: Serial,
    /// Its control socket.
    pub qmp: Qmp,
    reset_log: PathBuf,
    _folder: tempfile::TempDir,
}

impl Qemu {
    /// Switch a machine on. `transcript` is where its serial output is kept.
    pub fn start(machine: &Machine, boot: &Boot, transcript: &Path) -> Result<Self> {
        let folder = tempfile::tempdir().context("make a temporary folder")?;
        let socket = folder.path().join("qmp");
        let reset_log = folder.path().join("resets");
        let mut command = Command::new(host::qemu()?);
        command
            .args(arguments(machine, boot))
            .args([
                "-display", "none", "-monitor", "none", "-serial", "stdio", "-S",
            ])
            .args((!machine.reboots).then_some("-no-reboot"))
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", socket.display()))
            .args(["-d", "cpu_reset", "-D"])
            .arg(&reset_log)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("start QEMU")?;
        let input = child.stdin.take().context("QEMU's standard input")?;
        let output = child.stdout.take().context("QEMU's standard output")?;
        let serial = Serial::new(output, input, transcript)?;
        let qmp = match Qmp::connect(&socket, || matches!(child.try_wait(), Ok(None))) {
            Ok(qmp) => qmp,
            Err(error) => {
                let _ = child.kill();
                let mut complaint = String::new();
                if let Some(mut stderr) = child.stderr.take() {
                    let _ = std::io::Read::read_to_string(&mut stderr, &mut complaint);
                }
                let _ = child.wait();
                let complaint = complaint.trim();
                bail!(
                    "{error:#}: {}",
                    if complaint.is_empty() {
                        "no message"
                    } else {
                        complaint
                    }
                );
            }
        };
        let mut qemu = Self {
            child,
            serial,
            qmp,
            reset_log,
            _folder: folder,
        };
        qemu.qmp.command("cont")?;
        Ok(qemu)
    }

    /// Wait for the machine's end, at most `patience`.
    pub fn wait_for_end(&mut self, patience: Duration) -> Result<Option<End>> {
        let deadline = Instant::now() + patience;
        let Some(end) = self.qmp.wait_for_end(patience) else {
            return Ok(None);
        };
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("QEMU said that the machine ended, but goes on");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Some(end))
    }

    /// Whether the machine is still on.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Whether a processor of the machine triple-faulted.
    pub fn triple_faulted(&self) -> bool {
        std::fs::read_to_string(&self.reset_log).is_ok_and(|log| log.contains("Triple fault"))
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_within_a_module_are_doubled() {
        let module = |path: &str, arguments: &str| Module {
            path: path.into(),
            arguments: arguments.into(),
        };
        let boot = Boot::Multiboot {
            kernel: "xen".into(),
            append: "console=com1 com1=115200,8n1".into(),
            modules: vec![module("linux", "checks=a,b"), module("initrd", "")],
        };
        let list = arguments(&Machine::default(), &boot);
        assert_eq!(list.last().unwrap(), "linux checks=a,,b,initrd");
        assert!(list.contains(&"console=com1 com1=115200,8n1".into()));
    }
}
