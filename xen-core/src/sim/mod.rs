//! A simulated machine: every trait of [`crate::machine`] in safe Rust, for tests on a host.
//!
//! What real processors do behind the hypervisor's back happens here too: translations are cached until they are
//! flushed, walks set accessed and dirty bits, and the guest reads the machine-to-physical table by itself. So a
//! missing flush shows, as a write through a translation that should be gone.

mod cases;
mod cpus;
mod devices;
mod guest;
mod hvm;
mod memory;
mod pv_cpu;
mod tlb;
mod world;

use std::boxed::Box;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

pub use cases::cases;
pub use cpus::on_cpu;
pub use devices::{IoAccess, RoutedGsi};
pub use guest::{DIRECT_MAP, PvGuest, audit};
pub use hvm::GuestRun;
pub use world::{new_domain, world, world_with};

use crate::machine::{CpuMask, CpuidLeaf, FrameWords, HvmSupport};
use crate::num::{CpuId, Gsi, Vector};

/// What to simulate.
#[derive(Clone, Copy, Debug)]
pub struct SimConfig {
    /// Frames of RAM.
    pub frames: u64,
    /// Of these, from frame 0 on, the hypervisor's own.
    pub reserved: u64,
    /// Processors.
    pub cpus: u32,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            frames: 2048,
            reserved: 16,
            cpus: 1,
        }
    }
}

/// The simulated machine.
#[derive(Debug)]
pub struct SimMachine {
    config: SimConfig,
    ram: Box<[FrameWords]>,
    pub(super) m2p: &'static [AtomicU64],
    cpus: Box<[Mutex<pv_cpu::CpuState>]>,
    now_ns: AtomicU64,
    /// Calls of `must_yield` until it says yes; `u64::MAX` = never.
    yield_after: AtomicU64,
    cache_flushes: AtomicUsize,
    tlb_flushes: AtomicUsize,
    /// How often the heap must grow until it is not low any more.
    heap_hunger: AtomicU64,
    state: Mutex<Devices>,
}

/// What happened to the rest of the machine.
#[derive(Debug, Default)]
struct Devices {
    console_out: Vec<u8>,
    console_in: VecDeque<u8>,
    gsis: HashMap<Gsi, RoutedGsi>,
    ended: Vec<Vector>,
    io: Vec<IoAccess>,
    ports: HashMap<u16, u32>,
    pci: HashMap<(u16, u8, u8, u16), u32>,
    mmio: HashMap<u64, u32>,
    cpuid: HashMap<(u32, u32), CpuidLeaf>,
    msrs: HashMap<u32, u64>,
    kicked: CpuMask,
    wall_secs: u64,
    hvm_support: HvmSupport,
    guest_runs: VecDeque<GuestRun>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimMachine {
    /// A machine with nothing running.
    #[must_use]
    pub fn new(config: SimConfig) -> Self {
        let frames = usize::try_from(config.frames).unwrap_or(0);
        let mut ram = Vec::new();
        ram.resize_with(frames, || [const { AtomicU64::new(0) }; 512]);
        let mut m2p = Vec::new();
        m2p.resize_with(frames, || AtomicU64::new(u64::MAX));
        let mut cpus = Vec::new();
        cpus.resize_with(config.cpus as usize, || {
            Mutex::new(pv_cpu::CpuState::default())
        });
        let devices = Devices {
            cpuid: pv_cpu::default_cpuid(),
            wall_secs: 1_700_000_000,
            ..Devices::default()
        };
        Self {
            config,
            ram: ram.into_boxed_slice(),
            m2p: Box::leak(m2p.into_boxed_slice()),
            cpus: cpus.into_boxed_slice(),
            now_ns: AtomicU64::new(1_000_000_000),
            yield_after: AtomicU64::new(u64::MAX),
            cache_flushes: AtomicUsize::new(0),
            tlb_flushes: AtomicUsize::new(0),
            heap_hunger: AtomicU64::new(0),
            state: Mutex::new(devices),
        }
    }

    /// What it simulates.
    #[must_use]
    pub const fn config(&self) -> SimConfig {
        self.config
    }

    fn devices(&self) -> MutexGuard<'_, Devices> {
        lock(&self.state)
    }

    fn cpu(&self, id: CpuId) -> MutexGuard<'_, pv_cpu::CpuState> {
        lock(&self.cpus[id.0 as usize % self.cpus.len()])
    }
}
