//! Bochs, for what QEMU's emulation lacks or does wrongly: x2APIC, TSC deadline, PCID, AVX-512, SMAP with IRET at
//! ring 3, exact #SS and MOV-SS (testing.md sections 5 and 7). It boots from a CD only, and slowly.

use crate::artifacts::host;
use crate::qmp::End;
use crate::serial::Serial;
use anyhow::{Context, Result, bail};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long Bochs may take to connect its serial port.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine that Bochs emulates.
pub struct Bochs {
    child: Child,
    /// Its serial line.
    pub serial: Serial,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl Bochs {
    /// Switch a machine of CPU `model` on, with `memory` MiB and `smp` processors, from the CD `image`.
    pub fn start(
        model: &str,
        memory: u32,
        smp: u32,
        image: &Path,
        transcript: &Path,
    ) -> Result<Self> {
        let program = host::ensure("bochs", "bochs bochsbios vgabios")?;
        let folder = tempfile::tempdir().context("make a temporary folder")?;
        let log = folder.path().join("log");
        let listener = TcpListener::bind("127.0.0.1:0").context("listen for Bochs")?;
        let port = listener.local_addr()?.port();
        let settings = [
            format!("cpu: model={model}, count={smp}, ips=200000000, reset_on_triple_fault=0"),
            format!("memory: guest={memory}, host={memory}"),
            "romimage: file=/usr/share/bochs/BIOS-bochs-latest".into(),
            "vgaromimage: file=/usr/share/vgabios/vgabios.bin".into(),
            // With it the machine triple-faults between GRUB and the hypervisor.
            "vga: extension=none".into(),
            format!(
                "ata0-master: type=cdrom, path={}, status=inserted",
                image.display()
            ),
            "boot: cdrom".into(),
            format!("com1: enabled=1, mode=socket-client, dev=localhost:{port}"),
            format!("log: {}", log.display()),
            "display_library: rfb, options=\"timeout=0\"".into(),
            "panic: action=fatal".into(),
            "clock: sync=none".into(),
            "speaker: enabled=0".into(),
            "sound: driver=dummy".into(),
        ];
        std::fs::write(folder.path().join("bochsrc"), settings.join("\n") + "\n")?;
        // Debian's build starts in its debugger; this lets it go.
        std::fs::write(folder.path().join("rc"), "c\n")?;
        let mut child = Command::new(program)
            .args(["-q", "-f", "bochsrc", "-rc", "rc"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start Bochs")?;
        let stream = match accept(&listener, &mut child) {
            Ok(stream) => stream,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(error);
            }
        };
        let serial = Serial::new(stream.try_clone()?, stream, transcript)?;
        Ok(Self {
            child,
            serial,
            log,
            _folder: folder,
        })
    }

    /// Wait for the machine's end, at most `patience`. Bochs resets without ending, so only a power-off shows.
    pub fn wait_for_end(&mut self, patience: Duration) -> Result<Option<End>> {
        let deadline = Instant::now() + patience;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(Some(if self.logged("soft power off") {
            End::PowerOff
        } else {
            End::Other
        }))
    }

    /// Whether the machine is still on.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Whether a processor triple-faulted.
    pub fn triple_faulted(&self) -> bool {
        self.logged("3rd (") || self.logged("triple fault")
    }

    fn logged(&self, text: &str) -> bool {
        std::fs::read(&self.log).is_ok_and(|log| String::from_utf8_lossy(&log).contains(text))
    }
}

impl Drop for Bochs {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn accept(listener: &TcpListener, child: &mut Child) -> Result<std::net::TcpStream> {
    listener.set_nonblocking(true)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false)?;
            return Ok(stream);
        }
        if child.try_wait()?.is_some() || Instant::now() > deadline {
            bail!("Bochs did not start");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
