//! Carries scenarios out, two at a time, and reports as they finish.

use crate::artifacts::{self, Linux, host, rust, target_dir};
use crate::bochs::Bochs;
use crate::devices::{self, free_port};
use crate::initramfs::{
    self, BUTTON_MODULES, DISK_MODULES, DOM0_MODULES, Initramfs, stock_xl, toolstack,
};
use crate::iso::{self, Firmware};
use crate::machine::Running;
use crate::peer::Peer;
use crate::pv_kernel::PvKernel;
use crate::qemu::{Boot, Machine, Module, Qemu};
use crate::scenario::{APPEND, Emulator, FATAL, Kernel, Loader, Scenario, Step};
use crate::serial::Outcome;
use crate::verdict::Verdict;
use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use regex::bytes::{Regex, RegexSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a machine that must stay on is watched.
const WATCH: Duration = Duration::from_secs(3);

/// Switches off, behind a CPU model, what Xen does not step around: QEMU 7.2 faults ring-3 IRETs under SMAP, and any
/// MWAIT with a hint in ECX.
pub const XEN_CPU: &str = ",-smap,-monitor";

/// What scenarios run on.
pub struct Bench {
    /// The hypervisor's bootable file.
    pub hypervisor: PathBuf,
    /// Whether that is Debian's Xen.
    pub is_xen: bool,
    /// Dom0's kernel.
    pub linux: Linux,
    /// Dom0's root file system.
    pub initramfs: PathBuf,
    /// Debian's disk, and the root file system that hands over to it, if a scenario needs them.
    pub debian: Option<(PathBuf, PathBuf)>,
    /// The other side of the network.
    pub peer: Peer,
    /// The same with Debian's toolstack, if a scenario needs it.
    pub stock_xl: Option<PathBuf>,
    /// The same with our toolstack, if a scenario needs it.
    pub toolstack: Option<PathBuf>,
    /// The same with both, if a scenario needs it.
    pub both: Option<PathBuf>,
    /// The folder with the programs of `tests/guests`, if a scenario needs it.
    pub guests: Option<PathBuf>,
    /// Where transcripts go.
    pub logs: PathBuf,
}

impl Bench {
    /// Make what `scenarios` need: Linux, initramfs, guests.
    pub fn new(
        hypervisor: PathBuf,
        is_xen: bool,
        linux: Linux,
        scenarios: &[Scenario],
    ) -> Result<Self> {
        let with_tools = |ours: bool, theirs: bool, name: &str| -> Result<Option<PathBuf>> {
            let needed =
                |scenario: &Scenario| (scenario.toolstack, scenario.stock_xl) == (ours, theirs);
            if !scenarios.iter().any(needed) {
                return Ok(None);
            }
            let mut image = Initramfs::new()?;
            let modules = linux.modules.as_ref();
            let folder = modules.context("the toolstack needs modules of dom0's kernel")?;
            image.add_modules(folder, "order", &DOM0_MODULES)?;
            if ours {
                toolstack::add(&mut image, &linux)?;
            }
            if theirs {
                stock_xl::add(&mut image, &linux, ours)?;
            }
            image.write(&target_dir().join(name)).map(Some)
        };
        let stock_xl = with_tools(false, true, "dom0-stock-xl.cpio.gz")?;
        let toolstack = with_tools(true, false, "dom0-toolstack.cpio.gz")?;
        let both = with_tools(true, true, "dom0-both.cpio.gz")?;
        let mut initramfs = Initramfs::new()?;
        let programs = |names: &[&'static str]| -> Result<Vec<(&'static str, PathBuf)>> {
            let paths = names
                .iter()
                .map(|name| Ok((*name, rust::dom0_program(name)?)));
            paths.collect()
        };
        for (name, program) in programs(&["vectors", "stress", "ticks"])? {
            let contents =
                std::fs::read(&program).with_context(|| format!("read {}", program.display()))?;
            initramfs.add(&format!("programs/{name}"), 0o755, &contents);
        }
        if let Some(folder) = &linux.modules {
            let modules = [&DOM0_MODULES[..], &BUTTON_MODULES].concat();
            initramfs.add_modules(folder, "order", &modules)?;
            initramfs.add_modules(folder, "order.disk", &DISK_MODULES)?;
        }
        let initramfs = initramfs.write(&target_dir().join("dom0-tests.cpio.gz"))?;
        let debian = if scenarios.iter().any(|scenario| scenario.debian.is_some()) {
            let modules = linux.modules.as_ref();
            let modules = modules.context("a whole Debian needs its own kernel")?;
            let mut programs = programs(&["vectors", "stress", "clock"])?;
            let folder = rust::toolstack()?;
            for name in ["xeno", "xeno-xenstored", "xeno-xenconsoled"] {
                programs.push((name, folder.join(name)));
            }
            let idle = target_dir().join("idle-guest");
            std::fs::write(&idle, PvKernel::idle().file())?;
            programs.push(("idle-guest", idle));
            let path = target_dir().join("dom0-root-tests.cpio.gz");
            let handover = initramfs::to_root(modules, &programs, &path)?;
            Some((devices::debian_disk()?, handover))
        } else {
            None
        };
        let guests = scenarios
            .iter()
            .any(|scenario| matches!(scenario.kernel, Kernel::Guest(_)));
        let guests = if guests { Some(rust::guests()?) } else { None };
        let logs = target_dir().join("test-logs");
        std::fs::create_dir_all(&logs).with_context(|| format!("create {}", logs.display()))?;
        Ok(Self {
            hypervisor,
            is_xen,
            linux,
            initramfs,
            debian,
            peer: Peer::start()?,
            stock_xl,
            toolstack,
            both,
            guests,
            logs,
        })
    }

    /// The transcript of `scenario`.
    pub fn transcript(&self, scenario: &Scenario) -> PathBuf {
        let suffix = if self.is_xen { ".xen.log" } else { ".log" };
        self.logs.join(format!("{}{suffix}", scenario.name))
    }

    /// Carry one scenario out.
    pub fn run(&self, scenario: &Scenario) -> Verdict {
        match self.try_run(scenario) {
            Ok(verdict) => verdict,
            Err(error) => Verdict::Error(format!("{error:#}")),
        }
    }

    fn try_run(&self, scenario: &Scenario) -> Result<Verdict> {
        let folder = tempfile::tempdir().context("make a temporary folder")?;
        let boot = self.boot(scenario, folder.path())?;
        let port = free_port()?;
        let mut machine = self.start(scenario, &boot, folder.path(), port)?;
        let fatal = fatal_patterns(scenario)?;
        let mut verdict = Verdict::Success;
        for step in &scenario.steps {
            verdict = match step {
                Step::Ssh(command, pattern) => ssh(port, command, pattern)?,
                step => self.step(&mut machine, step, &fatal, scenario.patience)?,
            };
            if !verdict.is_success() {
                break;
            }
        }
        if let Some(line) = machine.serial().fatal(&fatal) {
            verdict = verdict.worst(Verdict::Crash(line));
        }
        if machine.triple_faulted() {
            verdict = verdict.worst(Verdict::Crash(format!(
                "triple fault after: {}",
                machine.serial().last_line()
            )));
        }
        Ok(verdict)
    }

    fn step(
        &self,
        machine: &mut Running,
        step: &Step,
        fatal: &RegexSet,
        patience: Duration,
    ) -> Result<Verdict> {
        let patience = patience.mul_f64(stretch());
        Ok(match step {
            Step::Expect(pattern) => {
                let wanted = Regex::new(&format!("(?m){pattern}"))?;
                let last = |machine: &mut Running| {
                    format!("the last line is: {}", machine.serial().last_line())
                };
                match machine.serial().expect(&wanted, fatal, patience) {
                    Outcome::Found(_) => Verdict::Success,
                    Outcome::Fatal(line) => Verdict::Crash(line),
                    Outcome::Closed => {
                        Verdict::Failure(format!("ended before {pattern:?}; {}", last(machine)))
                    }
                    Outcome::TimedOut => {
                        Verdict::Failure(format!("no {pattern:?} in time; {}", last(machine)))
                    }
                }
            }
            Step::Ssh(..) => bail!("ssh is carried out without the machine"),
            Step::Type(text) => {
                machine.serial().send(text)?;
                Verdict::Success
            }
            Step::Qmp(command) => {
                machine.control(command)?;
                Verdict::Success
            }
            Step::Monitor(line) => {
                machine.monitor(line)?;
                Verdict::Success
            }
            Step::End(wanted) => match machine.wait_for_end(patience)? {
                Some(end) if end == *wanted => Verdict::Success,
                Some(end) => Verdict::Failure(format!("ended by {end:?}, not by {wanted:?}")),
                None => Verdict::Failure(format!(
                    "no end; the last line is: {}",
                    machine.serial().last_line()
                )),
            },
            Step::StaysOn => {
                let deadline = Instant::now() + WATCH;
                while machine.is_running() && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(100));
                }
                if machine.is_running() {
                    Verdict::Success
                } else {
                    Verdict::Failure(format!(
                        "did not stay on; the last line is: {}",
                        machine.serial().last_line()
                    ))
                }
            }
        })
    }

    fn start(&self, scenario: &Scenario, boot: &Boot, folder: &Path, port: u16) -> Result<Running> {
        let transcript = self.transcript(scenario);
        Ok(match (scenario.emulator, boot) {
            (Emulator::Qemu, _) => Running::Qemu(Qemu::start(
                &self.machine(scenario, folder, port)?,
                boot,
                &transcript,
            )?),
            (Emulator::Bochs, Boot::CdRom(image)) => {
                let memory = megabytes(scenario.memory).context("Bochs wants memory in M or G")?;
                Running::Bochs(Bochs::start(
                    &scenario.cpu,
                    memory,
                    scenario.smp,
                    image,
                    &transcript,
                )?)
            }
            (Emulator::Bochs, Boot::Multiboot { .. } | Boot::Linux { .. }) => {
                bail!("Bochs boots from a CD only")
            }
        })
    }

    fn machine(&self, scenario: &Scenario, folder: &Path, port: u16) -> Result<Machine> {
        let is_xen = self.is_xen || scenario.on_xen;
        let cpu = format!("{}{}", scenario.cpu, if is_xen { XEN_CPU } else { "" });
        let mut extra: Vec<String> = scenario
            .qemu
            .iter()
            .map(|word| (*word).to_owned())
            .collect();
        if let Some(devices) = &scenario.debian {
            let (disk, _) = self.debian.as_ref().context("Debian's disk was not made")?;
            extra.extend(devices.arguments(disk, false, port)?);
        }
        if scenario.disk {
            let disk = folder.join("disk");
            let mut contents = b"disk of the test
"
            .to_vec();
            contents.resize(1 << 20, 0);
            std::fs::write(&disk, contents)?;
            extra.extend([
                "-drive".into(),
                format!("file={},format=raw,if=ide", disk.display()),
            ]);
        }
        Ok(Machine {
            cpu,
            memory: scenario.memory.into(),
            smp: scenario.smp,
            kvm: false,
            reboots: scenario.reboots,
            extra,
        })
    }

    fn boot(&self, scenario: &Scenario, folder: &Path) -> Result<Boot> {
        let linux = || std::fs::read(&self.linux.kernel).context("read dom0's kernel");
        let kernel = match scenario.made_kernel(linux)? {
            Some(contents) => {
                let path = folder.join("kernel");
                std::fs::write(&path, contents)?;
                Some(path)
            }
            None => match scenario.kernel {
                Kernel::Guest(program) => Some(
                    self.guests
                        .as_ref()
                        .context("the guests were not built")?
                        .join(program),
                ),
                Kernel::Missing => None,
                _ => Some(self.linux.kernel.clone()),
            },
        };
        let mut modules: Vec<Module> = kernel
            .into_iter()
            .map(|path| Module {
                path,
                arguments: if scenario.debian.is_some() {
                    format!("{} peer={}", scenario.dom0_append, self.peer.address())
                } else {
                    scenario.dom0_append.clone()
                },
            })
            .collect();
        if scenario.initramfs && !modules.is_empty() {
            let debian = self.debian.as_ref().filter(|_| scenario.debian.is_some());
            let image = if let Some((_, handover)) = debian {
                handover
            } else if scenario.stock_xl || scenario.toolstack {
                match (scenario.stock_xl, scenario.toolstack) {
                    (true, true) => &self.both,
                    (true, false) => &self.stock_xl,
                    _ => &self.toolstack,
                }
                .as_ref()
                .context("the toolstack's image was not made")?
            } else {
                &self.initramfs
            };
            modules.push(Module {
                path: image.clone(),
                arguments: String::new(),
            });
        }
        let append = format!("{APPEND} {}", scenario.append)
            .trim_end()
            .to_owned();
        let uefi = scenario.debian.is_some_and(|devices| devices.uefi);
        let hypervisor = if scenario.on_xen {
            artifacts::debian_xen()?
        } else {
            self.hypervisor.clone()
        };
        Ok(match scenario.loader {
            Loader::Qemu if !uefi => Boot::Multiboot {
                kernel: hypervisor,
                append,
                modules,
            },
            _ => {
                let firmware = if uefi { Firmware::Uefi } else { Firmware::Bios };
                let image = target_dir().join(format!("{}.iso", scenario.name));
                iso::write(firmware, &hypervisor, &append, &modules, &image)?;
                Boot::CdRom(image)
            }
        })
    }
}

/// Carry `command` out over ssh on the machine behind `port`; `pattern` must be in what it prints.
fn ssh(port: u16, command: &str, pattern: &str) -> Result<Verdict> {
    let program = host::ensure("ssh", "openssh-client")?;
    let output = Command::new(program)
        .args(["-p", &port.to_string()])
        .args(["-o", "StrictHostKeyChecking=no"])
        .args(["-o", "UserKnownHostsFile=/dev/null"])
        .args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=120"])
        .args(["root@127.0.0.1", command])
        .output()
        .context("start ssh")?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(if Regex::new(pattern)?.is_match(printed.as_bytes()) {
        Verdict::Success
    } else {
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        Verdict::Failure(format!(
            "ssh {command} printed {printed:?}, not {pattern:?}; {}",
            complaint.trim().lines().last().unwrap_or("no complaint")
        ))
    })
}

/// The number of MiB that `memory` names.
fn megabytes(memory: &str) -> Option<u32> {
    if let Some(number) = memory.strip_suffix('G') {
        return number.parse::<u32>().ok()?.checked_mul(1024);
    }
    memory.strip_suffix('M')?.parse().ok()
}

/// Slow machines may multiply every wait by `XENOLITH_TEST_PATIENCE`.
fn stretch() -> f64 {
    let given = std::env::var("XENOLITH_TEST_PATIENCE")
        .ok()
        .and_then(|text| text.parse::<f64>().ok());
    given
        .filter(|factor| (0.1..=100.0).contains(factor))
        .unwrap_or(1.0)
}

fn fatal_patterns(scenario: &Scenario) -> Result<RegexSet> {
    let patterns = FATAL
        .iter()
        .filter(|pattern| !scenario.tolerated.contains(pattern));
    Ok(RegexSet::new(patterns)?)
}

/// Carry `scenarios` out, `jobs` at a time; how many passed and failed.
pub fn run_all(bench: &Bench, scenarios: &[Scenario], jobs: usize) -> (usize, usize) {
    let bar = ProgressBar::new(scenarios.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(500));
    let next = AtomicUsize::new(0);
    let running = Mutex::new(Vec::new());
    let failed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    show(&bar, &running, |names| names.push(scenario.name));
                    let start = Instant::now();
                    let verdict = bench.run(scenario);
                    show(&bar, &running, |names| {
                        names.retain(|name| *name != scenario.name)
                    });
                    if !verdict.is_success() {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                    report(&bar, bench, scenario, &verdict, start.elapsed());
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let failed = failed.into_inner();
    (scenarios.len() - failed, failed)
}

fn show(
    bar: &ProgressBar,
    running: &Mutex<Vec<&'static str>>,
    change: impl FnOnce(&mut Vec<&'static str>),
) {
    let mut names = running
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    change(&mut names);
    bar.set_message(names.join(", "));
}

fn report(
    bar: &ProgressBar,
    bench: &Bench,
    scenario: &Scenario,
    verdict: &Verdict,
    took: Duration,
) {
    let mut text = format!(
        "boot {} ... {verdict} ({:.1} s)",
        scenario.name,
        took.as_secs_f64()
    );
    if !verdict.is_success() {
        let path = bench.transcript(scenario);
        let transcript = std::fs::read(&path).unwrap_or_default();
        let transcript = String::from_utf8_lossy(&transcript).into_owned();
        let lines: Vec<&str> = transcript
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        for line in &lines[lines.len().saturating_sub(12)..] {
            text.push_str("\n    ");
            text.push_str(line);
        }
        text.push_str(&format!(
            "\n    {}; transcript: {}",
            scenario.about,
            path.display()
        ));
    }
    bar.suspend(|| println!("{text}"));
}
